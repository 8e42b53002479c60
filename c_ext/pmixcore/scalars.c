/* The PMIx types that are plain numbers. */
#include "pmixcore.h"

#include <string.h>
#include <sys/time.h>

size_t scalar_size(pmix_data_type_t type)
{
    switch (type) {
    case PMIX_BOOL: return sizeof(bool);
    case PMIX_BYTE:
    case PMIX_INT8:
    case PMIX_UINT8:
    case PMIX_PERSIST:
    case PMIX_SCOPE:
    case PMIX_DATA_RANGE:
    case PMIX_COMMAND:
    case PMIX_PROC_STATE:
    case PMIX_ALLOC_DIRECTIVE:
    case PMIX_LINK_STATE:
    case PMIX_JOB_STATE: return sizeof(uint8_t);
    case PMIX_INT16:
    case PMIX_UINT16:
    case PMIX_DATA_TYPE:
    case PMIX_LOCTYPE:
    case PMIX_IOF_CHANNEL: return sizeof(uint16_t);
    case PMIX_INT:
    case PMIX_UINT:
    case PMIX_INT32:
    case PMIX_UINT32:
    case PMIX_STATUS:
    case PMIX_PROC_RANK:
    case PMIX_INFO_DIRECTIVES: return sizeof(uint32_t);
    case PMIX_INT64:
    case PMIX_UINT64:
    case PMIX_DEVTYPE: return sizeof(uint64_t);
    case PMIX_SIZE: return sizeof(size_t);
    case PMIX_PID: return sizeof(pid_t);
    case PMIX_TIME: return sizeof(time_t);
    case PMIX_TIMEVAL: return sizeof(struct timeval);
    case PMIX_FLOAT: return sizeof(float);
    case PMIX_DOUBLE: return sizeof(double);
    default: return 0;
    }
}

bool scalar_kind_of(pmix_data_type_t type, enum scalar_kind *kind)
{
    switch (type) {
    case PMIX_BOOL: *kind = SCALAR_BOOL; return true;
    case PMIX_FLOAT:
    case PMIX_DOUBLE:
    case PMIX_TIMEVAL: *kind = SCALAR_REAL; return true;
    case PMIX_INT8:
    case PMIX_INT16:
    case PMIX_INT:
    case PMIX_INT32:
    case PMIX_INT64:
    case PMIX_PID:
    case PMIX_STATUS:
    case PMIX_TIME: *kind = SCALAR_SIGNED; return true;
    case PMIX_STRING:
    case PMIX_BYTE_OBJECT:
    case PMIX_REGEX:
    case PMIX_COMPRESSED_STRING:
    case PMIX_COMPRESSED_BYTE_OBJECT:
    case PMIX_ENVAR:
    case PMIX_PROC:
    case PMIX_PROC_NSPACE:
    case PMIX_PROC_INFO:
    case PMIX_INFO:
    case PMIX_VALUE:
    case PMIX_DATA_ARRAY: return false;
    default: *kind = SCALAR_UNSIGNED; return element_size(type) != 0;
    }
}

uint64_t load_unsigned(const void *element, size_t size)
{
    uint64_t number = 0;

    memcpy(&number, element, size); /* little endian, as every supported machine */
    return number;
}

int64_t load_signed(const void *element, size_t size)
{
    uint64_t number = load_unsigned(element, size);
    unsigned shift = 64U - 8U * (unsigned)size;

    return (int64_t)(number << shift) >> shift;
}
