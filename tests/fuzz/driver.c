/* Runs a fuzz target without libFuzzer: every file of the corpus, then mutations of them.
 * The mutations follow from the seed alone, so that a failing run can be repeated.
 *
 * Takes the flags of libFuzzer that the fuzz_test rule passes: -runs=N -seed=N -max_len=N
 * -seed_inputs=FILE,FILE… When the target crashes, the input that did it lies in the file that the
 * message on standard error names. */

#include "common/random.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct input {
    uint8_t *data;
    size_t bytes;
};

/* What is being tried, for the signal handler; the one thing at file scope, since a handler
 * is handed nothing. */
static struct input current;

static void save_current(int signal_number)
{
    static const char path[] = "crash-input";
    static const char message[] = "fuzz driver: the input that crashed is in the file crash-input\n";
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file >= 0) {
        ssize_t written = write(file, current.data, current.bytes);
        written = write(STDERR_FILENO, message, sizeof(message) - 1);
        (void)written; /* the process is about to end; nothing can be done */
    }
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static struct input read_file(const char *path, size_t limit)
{
    FILE *file = fopen(path, "rb");
    struct input input = {malloc(limit > 0 ? limit : 1), 0};
    if (file == NULL || input.data == NULL) {
        perror(path);
        exit(2);
    }
    input.bytes = fread(input.data, 1, limit, file);
    fclose(file);
    return input;
}

static size_t below(struct random *random, size_t limit)
{
    return (size_t)random_below(random, limit);
}

/* Copies of an exact size, so that AddressSanitizer sees a read behind the end. */
static void try_input(const uint8_t *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes > 0 ? bytes : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, data, bytes);
    current = (struct input){exact, bytes};
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

/* One change of the kinds that find most: a flipped bit, an interesting byte, bytes removed,
 * repeated or taken from another input, a cut. */
static size_t mutate(struct random *random, uint8_t *data, size_t bytes, size_t limit, const struct input *other)
{
    static const uint8_t interesting[] = {0, 1, 9, 10, 13, 32, 34, 44, 45, 48, 57, 58, 92, 123, 125, 127, 128, 255};
    size_t at = bytes > 0 ? below(random, bytes) : 0;
    switch (below(random, 7)) {
    case 0:
        if (bytes > 0)
            data[at] ^= (uint8_t)(1u << below(random, 8));
        return bytes;
    case 1:
        if (bytes > 0)
            data[at] = interesting[below(random, sizeof(interesting))];
        return bytes;
    case 2: {
        if (bytes >= limit)
            return bytes;
        memmove(data + at + 1, data + at, bytes - at);
        data[at] = interesting[below(random, sizeof(interesting))];
        return bytes + 1;
    }
    case 3: {
        size_t count = bytes > 0 ? 1 + below(random, bytes - at) : 0;
        memmove(data + at, data + at + count, bytes - at - count);
        return bytes - count;
    }
    case 4: {
        size_t count = bytes > 0 ? 1 + below(random, bytes - at) : 0;
        if (bytes + count > limit)
            return bytes;
        memmove(data + at + count, data + at, bytes - at);
        return bytes + count;
    }
    case 5: {
        if (other->bytes == 0)
            return bytes;
        size_t from = below(random, other->bytes);
        size_t count = 1 + below(random, other->bytes - from);
        if (at + count > limit)
            return bytes;
        memcpy(data + at, other->data + from, count);
        return at + count > bytes ? at + count : bytes;
    }
    default:
        return at;
    }
}

int main(int argc, char **argv)
{
    uint64_t runs = 1000, seed = 1;
    size_t limit = 65536, count = 0;
    char *files = NULL;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-runs=", 6) == 0)
            runs = strtoull(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            seed = strtoull(argv[i] + 6, NULL, 10);
        else if (strncmp(argv[i], "-max_len=", 9) == 0)
            limit = (size_t)strtoull(argv[i] + 9, NULL, 10);
        else if (strncmp(argv[i], "-seed_inputs=", 13) == 0)
            files = argv[i] + 13;
    }
    size_t capacity = 2;
    for (const char *c = files; c != NULL && *c != '\0'; c++)
        capacity += *c == ',';
    struct input *corpus = calloc(capacity, sizeof(*corpus));
    if (corpus == NULL)
        return 2;
    for (char *file = strsep(&files, ","); file != NULL; file = strsep(&files, ","))
        corpus[count++] = read_file(file, limit);
    signal(SIGSEGV, save_current);
    signal(SIGABRT, save_current);
    signal(SIGBUS, save_current);
    signal(SIGFPE, save_current);

    try_input((const uint8_t *)"", 0);
    for (size_t i = 0; i < count; i++)
        try_input(corpus[i].data, corpus[i].bytes);
    if (count == 0)
        corpus[count++] = (struct input){calloc(1, 1), 1};

    uint8_t *data = malloc(limit + 1);
    if (data == NULL || corpus[0].data == NULL)
        return 2;
    struct random random;
    random_seed(&random, seed);
    for (uint64_t run = 0; run < runs; run++) {
        const struct input *start = &corpus[below(&random, count)];
        size_t bytes = start->bytes;
        memcpy(data, start->data, bytes);
        for (size_t changes = 1 + below(&random, 5); changes > 0; changes--)
            bytes = mutate(&random, data, bytes, limit, &corpus[below(&random, count)]);
        try_input(data, bytes);
    }
    printf("%llu inputs, seed %llu\n", (unsigned long long)(runs + count + 1), (unsigned long long)seed);
    for (size_t i = 0; i < count; i++)
        free(corpus[i].data);
    free(corpus);
    free(data);
    return 0;
}
