/*
 * JSON Patch and merge patch over jansson's values: see json_patch.h.
 *
 * A patch is applied to a copy that nobody else has, so that a failure leaves no trace.
 */
#include "broker/json_patch.h"

#include "base/util.h"
#include "base/views.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX JSON_PARSER_MAX_DEPTH /* what jansson reads, so no document is deeper */
#define KEY_MAX 4096u                   /* bytes of one step of a pointer */
#define OPERATIONS_MAX 10000u
#define RESULT_DEPTH_MAX 512u /* nesting that operations may make: copies of copies grow fast */
/* What all operations together may cost: 1 for each value copied, and 1 */
#define WORK_MAX (1u << 20)
#define TEXT_COST 16u /* for so many bytes of its text, */
#define MOVE_COST 64u /* for so many members of an array that make room or close up */

/* ---- text ---- */

static json_t *parse(struct tf_bytes text)
{
    return json_loadb((const char *)text.data, text.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static enum tf_json_patch_result print(json_t *value, char **ret_text, size_t *ret_length)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text) {
        return TF_JSON_PATCH_NO_MEMORY;
    }
    *ret_length = strlen(text);
    *ret_text = text;
    return TF_JSON_PATCH_DONE;
}

void tf_json_patch_free(char *text)
{
    free(text);
}

/* ---- pointers (RFC 6901) ---- */

/* A step of a pointer: what stands between two slashes, unescaped. */
struct step {
    char key[KEY_MAX];
    size_t length;
};

/* Takes the next step off a pointer, which begins with a slash. False: it is none. */
static bool next_step(struct tf_bytes *pointer, struct step *ret)
{
    size_t at = 1;
    ret->length = 0;
    if (pointer->length == 0 || pointer->data[0] != '/') {
        return false;
    }
    for (; at < pointer->length && pointer->data[at] != '/'; at++) {
        char c = (char)pointer->data[at];
        if (c == '~') {
            if (++at == pointer->length || (pointer->data[at] != '0' && pointer->data[at] != '1')) {
                return false;
            }
            c = pointer->data[at] == '0' ? '~' : '/';
        }
        if (ret->length == sizeof(ret->key)) {
            return false;
        }
        ret->key[ret->length++] = c;
    }
    *pointer = tf_bytes_of(pointer->data + at, pointer->length - at);
    return true;
}

/* The index that a step is in an array; `-` is the place after the last. False: it is none. */
static bool index_of(const struct step *step, size_t size, size_t *ret)
{
    size_t index = 0;
    if (step->length == 1 && step->key[0] == '-') {
        *ret = size;
        return true;
    }
    if (step->length == 0 || step->length > 9 || (step->length > 1 && step->key[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < step->length; i++) {
        if (step->key[i] < '0' || step->key[i] > '9') {
            return false;
        }
        index = index * 10 + (size_t)(step->key[i] - '0');
    }
    *ret = index;
    return true;
}

/* The child that a step leads to; NULL: there is none. Borrowed. */
static json_t *child(json_t *value, const struct step *step)
{
    size_t index;
    if (json_is_object(value)) {
        return json_object_getn(value, step->key, step->length);
    }
    return json_is_array(value) && index_of(step, json_array_size(value), &index)
               ? json_array_get(value, index)
               : NULL;
}

/* ---- bounds ---- */

/* What is left of what the operations of one patch may cost. */
struct bounds {
    size_t work;
    struct nest {
        json_t *value;
        size_t at;  /* of an array */
        void *next; /* of an object */
    } stack[RESULT_DEPTH_MAX];
};

/* The next child of what is being walked; NULL: no more. */
static json_t *next_child(struct nest *nest)
{
    if (json_is_array(nest->value)) {
        return json_array_get(nest->value, nest->at++);
    }
    if (!nest->next) {
        return NULL;
    }
    json_t *value = json_object_iter_value(nest->next);
    nest->next = json_object_iter_next(nest->value, nest->next);
    return value;
}

/* Charges some work. False: that is too much. */
static bool spend(struct bounds *bounds, size_t work)
{
    bool enough = work <= bounds->work;
    bounds->work -= enough ? work : 0;
    return enough;
}

/* Charges an array's members behind a place for having to move. */
static bool spend_move(struct bounds *bounds, const json_t *array, size_t from)
{
    return spend(bounds, (json_array_size(array) - from) / MOVE_COST);
}

/* What a value costs by itself: its text, and the names of its members. */
static size_t cost_of(json_t *value)
{
    size_t cost = 1 + (json_is_string(value) ? json_string_length(value) / TEXT_COST : 0);
    void *member = json_is_object(value) ? json_object_iter(value) : NULL;
    for (; member; member = json_object_iter_next(value, member)) {
        cost += json_object_iter_key_len(member) / TEXT_COST;
    }
    return cost;
}

/* Charges a value that is put at the end of a pointer. False: too deep, or too much. */
static bool charge(struct bounds *bounds, json_t *value, struct tf_bytes pointer)
{
    size_t depth = 0, steps = 1;
    for (size_t i = 0; i < pointer.length; i++) {
        steps += pointer.data[i] == '/';
    }
    while (value || depth) {
        if (!value) {
            value = next_child(&bounds->stack[depth - 1]);
            depth -= value == NULL;
            continue;
        }
        if (!spend(bounds, cost_of(value))) {
            return false;
        }
        if (json_is_array(value) || json_is_object(value)) {
            if (depth + steps >= RESULT_DEPTH_MAX) {
                return false;
            }
            void *first = json_is_object(value) ? json_object_iter(value) : NULL;
            bounds->stack[depth++] = (struct nest){.value = value, .next = first};
        }
        value = NULL;
    }
    return true;
}

/* ---- one operation (RFC 6902 4) ---- */

/*
 * Follows a pointer up to its last step. *ret_parent NULL: the pointer is the whole document.
 */
static enum tf_json_patch_result locate(json_t *root, struct tf_bytes pointer, json_t **ret_parent,
                                        struct step *last)
{
    json_t *value = root;
    *ret_parent = NULL;
    while (pointer.length) {
        if (*ret_parent && !value) {
            return TF_JSON_PATCH_CONFLICT;
        }
        *ret_parent = value;
        if (!next_step(&pointer, last)) {
            return TF_JSON_PATCH_UNPROCESSABLE;
        }
        value = child(value, last);
    }
    return TF_JSON_PATCH_DONE;
}

/* What a pointer points to; borrowed. */
static enum tf_json_patch_result get(json_t *root, struct tf_bytes pointer, json_t **ret)
{
    struct step last;
    json_t *parent;
    enum tf_json_patch_result result = locate(root, pointer, &parent, &last);
    if (result != TF_JSON_PATCH_DONE) {
        return result;
    }
    *ret = parent ? child(parent, &last) : root;
    return *ret ? TF_JSON_PATCH_DONE : TF_JSON_PATCH_CONFLICT;
}

/* Puts a value, whose count it takes, where a pointer points to (4.1). */
static enum tf_json_patch_result add(json_t **root, struct tf_bytes pointer, json_t *value,
                                     struct bounds *bounds)
{
    struct step last;
    json_t *parent;
    size_t index;
    enum tf_json_patch_result result = locate(*root, pointer, &parent, &last);
    if (result != TF_JSON_PATCH_DONE) {
        json_decref(value);
        return result;
    }
    if (!parent) {
        json_decref(*root);
        *root = value;
        return TF_JSON_PATCH_DONE;
    }
    if (json_is_object(parent)) {
        return json_object_setn_new(parent, last.key, last.length, value) ? TF_JSON_PATCH_NO_MEMORY
                                                                          : TF_JSON_PATCH_DONE;
    }
    if (json_is_array(parent) && index_of(&last, json_array_size(parent), &index) &&
        index <= json_array_size(parent)) {
        if (!spend_move(bounds, parent, index)) {
            json_decref(value);
            return TF_JSON_PATCH_UNPROCESSABLE;
        }
        return json_array_insert_new(parent, index, value) ? TF_JSON_PATCH_NO_MEMORY
                                                           : TF_JSON_PATCH_DONE;
    }
    json_decref(value);
    return TF_JSON_PATCH_CONFLICT;
}

/* Takes away what a pointer points to (4.2). */
static enum tf_json_patch_result take(json_t *root, struct tf_bytes pointer, struct bounds *bounds)
{
    struct step last;
    json_t *parent;
    size_t index = 0;
    enum tf_json_patch_result result = locate(root, pointer, &parent, &last);
    if (result != TF_JSON_PATCH_DONE) {
        return result;
    }
    if (!parent || !child(parent, &last)) {
        return TF_JSON_PATCH_CONFLICT; /* the whole document cannot be taken away */
    }
    if (json_is_object(parent)) {
        (void)json_object_deln(parent, last.key, last.length);
        return TF_JSON_PATCH_DONE;
    }
    if (!index_of(&last, json_array_size(parent), &index)) {
        return TF_JSON_PATCH_CONFLICT;
    }
    if (!spend_move(bounds, parent, index)) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    return json_array_remove(parent, index) ? TF_JSON_PATCH_CONFLICT : TF_JSON_PATCH_DONE;
}

static bool text_of(const json_t *operation, const char *name, struct tf_bytes *ret)
{
    const json_t *value = json_object_get(operation, name);
    if (!json_is_string(value)) {
        return false;
    }
    *ret = tf_bytes_of(json_string_value(value), json_string_length(value));
    return true;
}

/* move and copy (4.4, 4.5) */
static enum tf_json_patch_result transfer(json_t **root, const json_t *operation,
                                          struct tf_bytes path, bool move, struct bounds *bounds)
{
    struct tf_bytes from;
    json_t *value;
    if (!text_of(operation, "from", &from)) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    enum tf_json_patch_result result = get(*root, from, &value);
    if (result != TF_JSON_PATCH_DONE) {
        return result;
    }
    if (move && path.length > from.length && path.data[from.length] == '/' &&
        tf_bytes_begin(path, from)) {
        return TF_JSON_PATCH_UNPROCESSABLE; /* 4.4: not into one of its own children */
    }
    if (move && tf_bytes_equal(path, from)) {
        return TF_JSON_PATCH_DONE;
    }
    if (!charge(bounds, value, path)) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    value = move ? json_incref(value) : json_deep_copy(value);
    if (!value) {
        return TF_JSON_PATCH_NO_MEMORY;
    }
    result = move ? take(*root, from, bounds) : TF_JSON_PATCH_DONE;
    if (result != TF_JSON_PATCH_DONE) {
        json_decref(value);
        return result;
    }
    return add(root, path, value, bounds);
}

/* add, replace and test (4.1, 4.3, 4.6) */
static enum tf_json_patch_result put(json_t **root, const json_t *operation, struct tf_bytes name,
                                     struct tf_bytes path, struct bounds *bounds)
{
    json_t *present, *value = json_object_get(operation, "value");
    enum tf_json_patch_result result;
    if (!value) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    if (tf_bytes_equal(name, tf_bytes_str("test"))) {
        result = get(*root, path, &present);
        return result == TF_JSON_PATCH_DONE && !json_equal(present, value) ? TF_JSON_PATCH_CONFLICT
                                                                           : result;
    }
    if (tf_bytes_equal(name, tf_bytes_str("replace"))) {
        result = get(*root, path, &present);
        if (result == TF_JSON_PATCH_DONE && path.length) {
            result = take(*root, path, bounds);
        }
        if (result != TF_JSON_PATCH_DONE) {
            return result;
        }
    } else if (!tf_bytes_equal(name, tf_bytes_str("add"))) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    if (!charge(bounds, value, path)) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    value = json_deep_copy(value); /* a later operation may change it */
    return value ? add(root, path, value, bounds) : TF_JSON_PATCH_NO_MEMORY;
}

static enum tf_json_patch_result operate(json_t **root, const json_t *operation,
                                         struct bounds *bounds)
{
    struct tf_bytes name, path;
    if (!text_of(operation, "op", &name) || !text_of(operation, "path", &path)) {
        return TF_JSON_PATCH_UNPROCESSABLE;
    }
    if (tf_bytes_equal(name, tf_bytes_str("remove"))) {
        return take(*root, path, bounds);
    }
    bool move = tf_bytes_equal(name, tf_bytes_str("move"));
    if (move || tf_bytes_equal(name, tf_bytes_str("copy"))) {
        return transfer(root, operation, path, move, bounds);
    }
    return put(root, operation, name, path, bounds);
}

enum tf_json_patch_result tf_json_patch(struct tf_bytes document, struct tf_bytes patch,
                                        char **ret_text, size_t *ret_length)
{
    struct bounds bounds;
    json_t *root = parse(document), *operations = parse(patch);
    enum tf_json_patch_result result = !operations ? TF_JSON_PATCH_BAD_PATCH
                                       : !root     ? TF_JSON_PATCH_BAD_DOCUMENT
                                                   : TF_JSON_PATCH_DONE;
    bounds.work = WORK_MAX;
    if (result == TF_JSON_PATCH_DONE &&
        (!json_is_array(operations) || json_array_size(operations) > OPERATIONS_MAX)) {
        result = TF_JSON_PATCH_UNPROCESSABLE;
    }
    for (size_t i = 0; result == TF_JSON_PATCH_DONE && i < json_array_size(operations); i++) {
        result = operate(&root, json_array_get(operations, i), &bounds);
    }
    if (result == TF_JSON_PATCH_DONE) {
        result = print(root, ret_text, ret_length);
    }
    json_decref(root);
    json_decref(operations);
    return result;
}

/* ---- merge patch (RFC 7396 2) ---- */

/* An object of the patch whose members are being merged into an object of the document. */
struct level {
    json_t *target, *patch;
    void *at;
};

/* Puts a member of the patch that is no object into the target, or takes one away. */
static bool set_member(json_t *target, const char *key, size_t length, json_t *value)
{
    if (json_is_null(value)) {
        (void)json_object_deln(target, key, length);
        return true;
    }
    return json_object_setn_new(target, key, length, json_deep_copy(value)) == 0;
}

/* The object of the target under a key, made if what is there is none; NULL: no memory. */
static json_t *object_member(json_t *target, const char *key, size_t length)
{
    json_t *member = json_object_getn(target, key, length);
    if (!json_is_object(member)) {
        member = json_object();
        if (!member || json_object_setn_new(target, key, length, member)) {
            return NULL;
        }
    }
    return member;
}

/* Merges an object into an object. False: no memory. */
static bool merge(json_t *target, json_t *patch, struct level *stack)
{
    size_t depth = 1;
    stack[0] = (struct level){target, patch, json_object_iter(patch)};
    while (depth) {
        struct level *level = &stack[depth - 1];
        if (!level->at) {
            depth--;
            continue;
        }
        const char *key = json_object_iter_key(level->at);
        size_t length = json_object_iter_key_len(level->at);
        json_t *value = json_object_iter_value(level->at);
        level->at = json_object_iter_next(level->patch, level->at);
        if (!json_is_object(value)) {
            if (!set_member(level->target, key, length, value)) {
                return false;
            }
            continue;
        }
        json_t *member = object_member(level->target, key, length);
        if (!member || depth > DEPTH_MAX) {
            return false;
        }
        stack[depth++] = (struct level){member, value, json_object_iter(value)};
    }
    return true;
}

enum tf_json_patch_result tf_json_merge_patch(struct tf_bytes document, struct tf_bytes patch,
                                              char **ret_text, size_t *ret_length)
{
    json_t *changes = parse(patch);
    json_t *root = document.length ? parse(document) : json_object();
    struct level *stack = malloc((DEPTH_MAX + 1) * sizeof(*stack));
    enum tf_json_patch_result result = !changes ? TF_JSON_PATCH_BAD_PATCH
                                       : !root  ? TF_JSON_PATCH_BAD_DOCUMENT
                                       : !stack ? TF_JSON_PATCH_NO_MEMORY
                                                : TF_JSON_PATCH_DONE;
    if (result == TF_JSON_PATCH_DONE && !json_is_object(changes)) {
        result = print(changes, ret_text, ret_length);
    } else if (result == TF_JSON_PATCH_DONE) {
        if (!json_is_object(root)) {
            json_decref(root);
            root = json_object();
        }
        result = root && merge(root, changes, stack) ? print(root, ret_text, ret_length)
                                                     : TF_JSON_PATCH_NO_MEMORY;
    }
    free(stack);
    json_decref(root);
    json_decref(changes);
    return result;
}
