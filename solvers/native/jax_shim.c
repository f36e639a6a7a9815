/* One XLA FFI handler for every generated kernel. The attribute `words` says which kernel and what stands in the fields
   of its call: first the kernel's number, then pairs (kind, value): 0 the value itself, 1 the address of that argument,
   2 the address of that result. Numbers are entered by `neuroode_enter`; a compiled computation that outlived its
   process finds no number and fails, instead of calling an address of old. */
#include XLA_FFI_HEADER
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int kernel_function(void *);

enum { MOST = 65536 };
static struct { int64_t number; kernel_function *function; } known[MOST];
static int64_t count;

/* Called by one thread at a time. Returns 0, or 1 where the table is full. */
int neuroode_enter(int64_t number, kernel_function *function) {
    if (count == MOST) return 1;
    known[count].number = number;
    known[count].function = function;
    __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
    return 0;
}

static kernel_function *find(int64_t number) {
    int64_t n = __atomic_load_n(&count, __ATOMIC_ACQUIRE);
    for (int64_t i = 0; i < n; i++)
        if (known[i].number == number) return known[i].function;
    return NULL;
}

static XLA_FFI_Error *fail(XLA_FFI_CallFrame *frame, const char *message) {
    XLA_FFI_Error_Create_Args args;
    memset(&args, 0, sizeof args);
    args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
    args.message = message;
    args.errc = XLA_FFI_Error_Code_INTERNAL;
    return frame->api->XLA_FFI_Error_Create(&args);
}

/* XLA asks once which version a handler was built for. */
static int answers_metadata(XLA_FFI_CallFrame *frame) {
    XLA_FFI_Extension_Base *extension = frame->extension_start;
    if (extension == NULL || extension->type != XLA_FFI_Extension_Metadata) return 0;
    XLA_FFI_Metadata *metadata = ((XLA_FFI_Metadata_Extension *)extension)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = 0;
    metadata->state_type_id.type_id = 0; /* unknown: there is no state */
    return 1;
}

static const XLA_FFI_Array *words_of(const XLA_FFI_Attrs *attrs) {
    for (int64_t i = 0; i < attrs->size; i++)
        if (attrs->types[i] == XLA_FFI_AttrType_ARRAY && attrs->names[i]->len == 5
            && memcmp(attrs->names[i]->ptr, "words", 5) == 0)
            return attrs->attrs[i];
    return NULL;
}

XLA_FFI_Error *neuroode_kernel(XLA_FFI_CallFrame *frame) {
    if (answers_metadata(frame)) return NULL;
    if (frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return NULL;
    const XLA_FFI_Array *words = words_of(&frame->attrs);
    if (words == NULL || words->dtype != XLA_FFI_DataType_S64 || words->size % 2 != 1)
        return fail(frame, "neuroode: the call has no words");
    const int64_t *given = words->data;
    kernel_function *function = find(given[0]);
    if (function == NULL) return fail(frame, "neuroode: this process has not loaded the kernel of a computation");
    size_t fields = words->size / 2;
    int64_t *call = malloc((fields + 1) * sizeof *call);
    if (call == NULL) return fail(frame, "neuroode: no memory");
    for (size_t i = 0; i < fields; i++) {
        int64_t kind = given[1 + 2 * i], value = given[2 + 2 * i];
        void **from = kind == 1 ? frame->args.args : frame->rets.rets;
        int64_t size = kind == 1 ? frame->args.size : frame->rets.size;
        if (kind != 0 && (value < 0 || value >= size)) {
            free(call);
            return fail(frame, "neuroode: the words name an array that is not there");
        }
        call[i] = kind == 0 ? value : (int64_t)(intptr_t)((XLA_FFI_Buffer *)from[value])->data;
    }
    int failed = function(call);
    free(call);
    return failed ? fail(frame, "neuroode: a kernel found no memory for its work space") : NULL;
}
