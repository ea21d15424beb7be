/*
 * Patches of JSON documents: JSON Patch (RFC 6902) and merge patch (RFC 7396), text in, text out.
 *
 * JSON itself is jansson's. Depth and size are bounded by what jansson reads; nothing recurses
 * over what a client sent beyond that.
 */
#ifndef TF_BROKER_JSON_PATCH_H
#define TF_BROKER_JSON_PATCH_H

#include <trefoil/bytes.h>

enum tf_json_patch_result {
    TF_JSON_PATCH_DONE,
    TF_JSON_PATCH_BAD_PATCH,     /* the patch is no JSON */
    TF_JSON_PATCH_BAD_DOCUMENT,  /* the document is no JSON */
    TF_JSON_PATCH_UNPROCESSABLE, /* JSON, but no patch: an unknown operation, a bad pointer */
    TF_JSON_PATCH_CONFLICT,      /* it does not fit this document: no such member, a failed test */
    TF_JSON_PATCH_NO_MEMORY
};

/*
 * Applies a JSON Patch to a document, all operations or none. *ret_text, `*ret_length` bytes of
 * compact JSON in the order of the document's members, is to be freed by tf_json_patch_free;
 * untouched unless it is done.
 */
enum tf_json_patch_result tf_json_patch(struct tf_bytes document, struct tf_bytes patch,
                                        char **ret_text, size_t *ret_length);

/* The same with a merge patch; an empty document is one that does not exist yet. */
enum tf_json_patch_result tf_json_merge_patch(struct tf_bytes document, struct tf_bytes patch,
                                              char **ret_text, size_t *ret_length);

/* Frees a text. NULL is ignored. */
void tf_json_patch_free(char *text);

#endif
