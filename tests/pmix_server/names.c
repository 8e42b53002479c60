/* Published data among four ranks: 0 and 3 on one node, 1 and 2 on the other. */
#include "client.h"

static pmix_info_t infos[4];
static size_t count;

static void none(void)
{
    memset(infos, 0, sizeof(infos));
    count = 0;
}

static pmix_info_t *add(const char *key, pmix_data_type_t type)
{
    pmix_info_t *info = &infos[count++];

    strcpy(info->key, key);
    info->value.type = type;
    return info;
}

static pmix_status_t publish(const char *key, const char *text, pmix_data_range_t range,
                             pmix_persistence_t persistence)
{
    none();
    add(key, PMIX_STRING)->value.data.string = (char *)text;
    if (range != PMIX_RANGE_UNDEF) {
        add(PMIX_RANGE, PMIX_DATA_RANGE)->value.data.range = range;
    }
    if (persistence != PMIX_PERSIST_INVALID) {
        add(PMIX_PERSISTENCE, PMIX_PERSIST)->value.data.persist = persistence;
    }
    return PMIx_Publish(infos, count);
}

static pmix_status_t publish_plainly(const char *key, const char *text)
{
    return publish(key, text, PMIX_RANGE_UNDEF, PMIX_PERSIST_INVALID);
}

/* timeout < 0: do not wait for it; 0: wait for ever. */
static pmix_status_t lookup(const char *key, const char *text, uint32_t publisher, int timeout)
{
    pmix_pdata_t data;
    pmix_status_t rc;

    none();
    if (timeout >= 0) {
        add(PMIX_WAIT, PMIX_INT)->value.data.integer = 0;
        add(PMIX_TIMEOUT, PMIX_INT)->value.data.integer = timeout;
    }
    memset(&data, 0, sizeof(data));
    strcpy(data.key, key);
    rc = PMIx_Lookup(&data, 1, infos, count);
    if (rc == PMIX_SUCCESS) {
        CHECK(data.value.type == PMIX_STRING, "%s has type %d", key, data.value.type);
        CHECK(strcmp(data.value.data.string, text) == 0, "%s=%s", key, data.value.data.string);
        CHECK(data.proc.rank == publisher, "%s is of rank %u", key, data.proc.rank);
    }
    return rc;
}

static pmix_status_t unpublish(const char *key)
{
    char *keys[] = {(char *)key, NULL};

    return PMIx_Unpublish(keys, NULL, 0);
}

static void some_of_two(void)
{
    pmix_pdata_t data[2];

    memset(data, 0, sizeof(data));
    strcpy(data[0].key, "nowhere");
    strcpy(data[1].key, "name");
    OK(PMIx_Lookup(data, 2, NULL, 0));
    CHECK(data[0].value.type == PMIX_UNDEF, "a key that is nowhere has a value");
    CHECK(strcmp(data[1].value.data.string, "port") == 0, "%s", data[1].value.data.string);
}

int main(void)
{
    start();
    if (me.rank == 0) {
        OK(publish_plainly("name", "port"));
        OK(publish("mine", "secret", PMIX_RANGE_PROC_LOCAL, PMIX_PERSIST_PROC));
        OK(publish("once", "gone", PMIX_RANGE_GLOBAL, PMIX_PERSIST_FIRST_READ));
    } else if (me.rank == 1) {
        OK(lookup("late", "here", 3, 0));
    } else if (me.rank == 2) {
        GIVES(PMIX_ERR_TIMEOUT, lookup("never", "", 0, 1));
    } else {
        usleep(300000);
        OK(publish_plainly("late", "here"));
    }
    fence_all(false);
    if (me.rank == 2) {
        OK(lookup("name", "port", 0, -1));
        OK(lookup("once", "gone", 0, -1));
        GIVES(PMIX_ERR_NOT_FOUND, lookup("once", "gone", 0, -1));
        some_of_two();
        GIVES(PMIX_ERR_DUPLICATE_KEY, publish_plainly("name", "another"));
        OK(publish("name", "nearer", PMIX_RANGE_LOCAL, PMIX_PERSIST_INVALID));
        GIVES(PMIX_ERR_NOT_FOUND, unpublish("late"));
    } else if (me.rank == 3) {
        GIVES(PMIX_ERR_NOT_FOUND, lookup("mine", "secret", 0, -1));
    }
    fence_all(false);
    if (me.rank == 1) {
        OK(lookup("name", "nearer", 2, -1));
    } else if (me.rank == 3) {
        OK(lookup("name", "port", 0, -1));
    } else if (me.rank == 0) {
        OK(lookup("mine", "secret", 0, -1));
    }
    fence_all(false);
    if (me.rank == 0) {
        OK(unpublish("name"));
        GIVES(PMIX_ERR_NOT_FOUND, unpublish("name"));
    }
    fence_all(false);
    if (me.rank == 3) {
        GIVES(PMIX_ERR_NOT_FOUND, lookup("name", "port", 0, -1));
    } else if (me.rank == 1) {
        OK(lookup("name", "nearer", 2, -1));
    }
    fence_all(false);
    OK(PMIx_Finalize(NULL, 0));
    return 0;
}
