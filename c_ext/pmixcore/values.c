/* Deep copies of PMIx values, without Python: used on libpmix's threads.
 *
 * libpmix's own copy functions are not used: they differ between versions, and the
 * memory of a copy would belong to a library that may be finalized before it. */
#include "pmixcore.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

size_t element_size(pmix_data_type_t type)
{
    switch (type) {
    case PMIX_STRING: return sizeof(char *);
    case PMIX_BYTE_OBJECT:
    case PMIX_REGEX:
    case PMIX_COMPRESSED_STRING:
    case PMIX_COMPRESSED_BYTE_OBJECT: return sizeof(pmix_byte_object_t);
    case PMIX_ENVAR: return sizeof(pmix_envar_t);
    case PMIX_PROC: return sizeof(pmix_proc_t);
    case PMIX_PROC_NSPACE: return sizeof(pmix_nspace_t);
    case PMIX_PROC_INFO: return sizeof(pmix_proc_info_t);
    case PMIX_INFO: return sizeof(pmix_info_t);
    case PMIX_VALUE: return sizeof(pmix_value_t);
    case PMIX_DATA_ARRAY: return sizeof(pmix_data_array_t);
    default: return scalar_size(type);
    }
}

static bool behind_pointer(pmix_data_type_t type)
{
    return type == PMIX_PROC || type == PMIX_PROC_NSPACE || type == PMIX_PROC_INFO ||
           type == PMIX_DATA_ARRAY;
}

/* An info or a value is an element of an array, never directly the content of a value. */
static bool fits_value(pmix_data_type_t type)
{
    return element_size(type) != 0 && type != PMIX_INFO && type != PMIX_VALUE;
}

void *value_element(const pmix_value_t *value)
{
    return behind_pointer(value->type) ? value->data.ptr : (void *)&value->data;
}

bool value_reserve(pmix_value_t *value, pmix_data_type_t type)
{
    memset(value, 0, sizeof(*value));
    if (!fits_value(type)) {
        return true;
    }
    value->type = type;
    if (behind_pointer(type)) {
        value->data.ptr = calloc(1, element_size(type));
        return value->data.ptr != NULL;
    }
    return true;
}

static bool string_copy(char **to, const char *from)
{
    *to = from == NULL ? NULL : strdup(from);
    return from == NULL || *to != NULL;
}

static bool bytes_copy(pmix_byte_object_t *to, const pmix_byte_object_t *from)
{
    to->size = from->bytes == NULL ? 0 : from->size;
    to->bytes = NULL;
    if (to->size == 0) {
        return true;
    }
    to->bytes = malloc(to->size);
    if (to->bytes == NULL) {
        to->size = 0;
        return false;
    }
    memcpy(to->bytes, from->bytes, to->size);
    return true;
}

static bool element_copy(pmix_data_type_t type, void *to, const void *from);

static bool array_copy(pmix_data_array_t *to, const pmix_data_array_t *from)
{
    size_t size = element_size(from->type);

    to->type = size == 0 ? PMIX_UNDEF : from->type;
    to->size = 0;
    to->array = NULL;
    if (size == 0 || from->array == NULL || from->size == 0) {
        return true;
    }
    to->array = calloc(from->size, size);
    if (to->array == NULL) {
        return false;
    }
    to->size = from->size;
    for (size_t i = 0; i < from->size; i++) {
        if (!element_copy(from->type, (char *)to->array + i * size,
                          (const char *)from->array + i * size)) {
            return false;
        }
    }
    return true;
}

static bool proc_info_copy(pmix_proc_info_t *to, const pmix_proc_info_t *from)
{
    *to = *from;
    to->hostname = to->executable_name = NULL;
    return string_copy(&to->hostname, from->hostname) &&
           string_copy(&to->executable_name, from->executable_name);
}

static bool envar_copy(pmix_envar_t *to, const pmix_envar_t *from)
{
    to->separator = from->separator;
    to->value = NULL;
    return string_copy(&to->envar, from->envar) && string_copy(&to->value, from->value);
}

static bool info_copy(pmix_info_t *to, const pmix_info_t *from)
{
    memcpy(to->key, from->key, sizeof(to->key));
    to->flags = from->flags;
    return value_copy(&to->value, &from->value);
}

static bool element_copy(pmix_data_type_t type, void *to, const void *from)
{
    switch (type) {
    case PMIX_STRING: return string_copy(to, *(char *const *)from);
    case PMIX_BYTE_OBJECT:
    case PMIX_REGEX:
    case PMIX_COMPRESSED_STRING:
    case PMIX_COMPRESSED_BYTE_OBJECT: return bytes_copy(to, from);
    case PMIX_ENVAR: return envar_copy(to, from);
    case PMIX_PROC_INFO: return proc_info_copy(to, from);
    case PMIX_INFO: return info_copy(to, from);
    case PMIX_VALUE: return value_copy(to, from);
    case PMIX_DATA_ARRAY: return array_copy(to, from);
    default: memcpy(to, from, element_size(type)); return true;
    }
}

bool value_copy(pmix_value_t *to, const pmix_value_t *from)
{
    const void *element = value_element(from);

    if (!value_reserve(to, from->type)) {
        return false;
    }
    if (to->type == PMIX_UNDEF || element == NULL) {
        if (element == NULL) {
            value_free(to);
        }
        to->data.uint16 = from->type;
        return true;
    }
    return element_copy(to->type, value_element(to), element);
}

void element_free(pmix_data_type_t type, void *element)
{
    switch (type) {
    case PMIX_STRING: free(*(char **)element); break;
    case PMIX_BYTE_OBJECT:
    case PMIX_REGEX:
    case PMIX_COMPRESSED_STRING:
    case PMIX_COMPRESSED_BYTE_OBJECT: free(((pmix_byte_object_t *)element)->bytes); break;
    case PMIX_ENVAR:
        free(((pmix_envar_t *)element)->envar);
        free(((pmix_envar_t *)element)->value);
        break;
    case PMIX_PROC_INFO:
        free(((pmix_proc_info_t *)element)->hostname);
        free(((pmix_proc_info_t *)element)->executable_name);
        break;
    case PMIX_INFO: value_free(&((pmix_info_t *)element)->value); break;
    case PMIX_VALUE: value_free(element); break;
    case PMIX_DATA_ARRAY: {
        pmix_data_array_t *array = element;
        size_t size = element_size(array->type);

        for (size_t i = 0; i < array->size; i++) {
            element_free(array->type, (char *)array->array + i * size);
        }
        free(array->array);
        break;
    }
    default: break;
    }
}

void value_free(pmix_value_t *value)
{
    void *element = value_element(value);

    if (element != NULL) {
        element_free(value->type, element);
    }
    if (behind_pointer(value->type)) {
        free(element);
    }
    memset(value, 0, sizeof(*value));
}

pmix_info_t *infos_copy(const pmix_info_t *from, size_t count)
{
    pmix_info_t *infos = calloc(count == 0 ? 1 : count, sizeof(*infos));

    for (size_t i = 0; infos != NULL && i < count; i++) {
        if (!info_copy(&infos[i], &from[i])) {
            infos_free(infos, count);
            return NULL;
        }
    }
    return infos;
}

void infos_free(pmix_info_t *infos, size_t count)
{
    for (size_t i = 0; infos != NULL && i < count; i++) {
        value_free(&infos[i].value);
    }
    free(infos);
}

char **strings_copy(char *const *from)
{
    size_t count = 0;
    char **strings;

    while (from[count] != NULL) {
        count++;
    }
    strings = calloc(count + 1, sizeof(*strings));
    for (size_t i = 0; strings != NULL && i < count; i++) {
        strings[i] = strdup(from[i]);
        if (strings[i] == NULL) {
            strings_free(strings);
            return NULL;
        }
    }
    return strings;
}

void strings_free(char **strings)
{
    for (char **string = strings; string != NULL && *string != NULL; string++) {
        free(*string);
    }
    free(strings);
}

static bool query_copy(pmix_query_t *to, const pmix_query_t *from)
{
    bool keyless = from->keys == NULL;
    bool plain = from->qualifiers == NULL || from->nqual == 0;

    to->keys = keyless ? NULL : strings_copy(from->keys);
    to->qualifiers = plain ? NULL : infos_copy(from->qualifiers, from->nqual);
    to->nqual = to->qualifiers == NULL ? 0 : from->nqual;
    return (keyless || to->keys != NULL) && (plain || to->qualifiers != NULL);
}

pmix_query_t *queries_copy(const pmix_query_t *from, size_t count)
{
    pmix_query_t *queries = calloc(count == 0 ? 1 : count, sizeof(*queries));

    for (size_t i = 0; queries != NULL && i < count; i++) {
        if (!query_copy(&queries[i], &from[i])) {
            queries_free(queries, count);
            return NULL;
        }
    }
    return queries;
}

void queries_free(pmix_query_t *queries, size_t count)
{
    for (size_t i = 0; queries != NULL && i < count; i++) {
        strings_free(queries[i].keys);
        infos_free(queries[i].qualifiers, queries[i].nqual);
    }
    free(queries);
}

void pdata_free(pmix_pdata_t *pdata, size_t count)
{
    for (size_t i = 0; pdata != NULL && i < count; i++) {
        value_free(&pdata[i].value);
    }
    free(pdata);
}
