#include "options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"
#include "shim_options.h"

enum { DEFAULT_TIMEOUT = 120 };

/* What the front-end itself must know; the rest is the agent's. */
struct reading {
    struct exec_request *request;
    const struct option_row *refused; /* the first one, judged when all options are known */
};

static const struct option_row *find_name(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof option_table / sizeof *option_table; i++)
        if (strlen(option_table[i].name) == length && !strncmp(option_table[i].name, name, length))
            return &option_table[i];
    return NULL;
}

static const struct option_row *find_letter(char letter)
{
    for (size_t i = 0; i < sizeof option_table / sizeof *option_table; i++)
        if (option_table[i].letter == letter)
            return &option_table[i];
    return NULL;
}

_Noreturn static void unknown(const char *word)
{
    die(EXIT_SHIM, "Option %s is not known to `shim exec`. See `shim exec --help`; put options of "
                   "the program after the image and the program.", word);
}

static unsigned positive(const char *name, const char *value)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || number < 1 || number > 1000000)
        die(EXIT_SHIM, "Option --%s has the value '%s'. It must be a whole number above zero.",
            name, value);
    return (unsigned)number;
}

static void note(struct reading *reading, const struct option_row *row, const char *value)
{
    struct exec_request *request = reading->request;
    if (row->use == USE_REFUSED || (row->use == USE_NETWORK && !reading->refused))
        reading->refused = row;
    if (row->use != USE_OWN)
        return;
    if (!strcmp(row->name, "help"))
        request->help = true;
    else if (!strcmp(row->name, "verbose"))
        message_verbose = true;
    else if (!strcmp(row->name, "no-pmix"))
        request->no_pmix = true;
    else if (!strcmp(row->name, "pmix-mode") && value && !strcmp(value, "none"))
        request->no_pmix = true;
    else if (!strcmp(row->name, "start-timeout") && value)
        request->timeout = positive(row->name, value);
}

/* Both readers return how many further words the option took. */
static int read_long(struct reading *reading, char **argv)
{
    const char *name = argv[0] + 2;
    size_t length = strcspn(name, "=");
    const struct option_row *row = find_name(name, length);
    if (!row) {
        argv[0][2 + length] = '\0';
        unknown(argv[0]);
    }
    if (name[length] == '=') {
        note(reading, row, name + length + 1);
        return 0;
    }
    if (row->value != VALUE_REQUIRED) {
        note(reading, row, NULL);
        return 0;
    }
    if (!argv[1])
        die(EXIT_SHIM, "Option --%s needs a value. See `shim exec --help`.", row->name);
    note(reading, row, argv[1]);
    return 1;
}

static int read_short(struct reading *reading, char **argv)
{
    for (const char *letter = argv[0] + 1; *letter; letter++) {
        const struct option_row *row = find_letter(*letter);
        if (!row)
            unknown((char[]){'-', *letter, '\0'});
        if (row->value != VALUE_REQUIRED) {
            note(reading, row, NULL);
            continue;
        }
        if (letter[1]) {
            note(reading, row, letter + 1 + (letter[1] == '='));
            return 0;
        }
        if (!argv[1])
            die(EXIT_SHIM, "Option --%s needs a value. See `shim exec --help`.", row->name);
        note(reading, row, argv[1]);
        return 1;
    }
    return 0;
}

static void judge(const struct reading *reading)
{
    const struct option_row *row = reading->refused;
    if (row && (row->use == USE_REFUSED || !reading->request->no_pmix))
        die(EXIT_SHIM, "Option --%s is refused: %s.", row->name, row->reason);
}

void options_parse(char **argv, struct exec_request *request)
{
    struct reading reading = {.request = request};
    size_t at = 0;
    *request = (struct exec_request){.options = argv, .timeout = DEFAULT_TIMEOUT};
    while (argv[at] && argv[at][0] == '-' && argv[at][1]) {
        char **word = argv + at++;
        if (!strcmp(*word, "--"))
            break;
        at += (size_t)((*word)[1] == '-' ? read_long(&reading, word) : read_short(&reading, word));
    }
    if (request->help)
        return;
    judge(&reading);
    if (!argv[at])
        die(EXIT_SHIM, "No image was given. Usage: shim exec [OPTIONS] IMAGE COMMAND [ARG...].");
    request->option_count = at + 1;
    request->command = argv + at + 1;
    if (!request->command[0])
        die(EXIT_SHIM, "No command was given after the image %s. "
                       "Usage: shim exec [OPTIONS] IMAGE COMMAND [ARG...].", argv[at]);
}
