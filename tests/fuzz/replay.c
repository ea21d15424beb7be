/*
 * The main of a fuzz target in a build without libFuzzer: gives each file named on the command
 * line, and each file below a folder named there, to the target once. So whatever a fuzzer found
 * stays a test, with any compiler. It knows nothing of what the target does with the bytes.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

/* Gives one file to the target, in a block of exactly its size so that ASan sees the first byte too
 * far. */
static int replay_file(const char *path, size_t length)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(length ? length : 1);
    int done = 0;

    if (file && data && fread(data, 1, length, file) == length) {
        LLVMFuzzerTestOneInput(data, length);
        done = 1;
    } else {
        perror(path);
    }
    free(data);
    if (file)
        fclose(file);
    return done;
}

/* Replays `path`, a file or a folder; counts in *files. Returns 0 if a file there cannot be read.
 */
static int replay(const char *path, unsigned *files)
{
    struct stat status;
    struct dirent **names = NULL;
    int ok = 1;

    if (stat(path, &status))
        return 1; /* a target without a corpus of its own */
    if (!S_ISDIR(status.st_mode)) {
        *files += 1;
        return replay_file(path, (size_t)status.st_size);
    }
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char below[4096];

        if (names[i]->d_name[0] != '.') {
            snprintf(below, sizeof below, "%s/%s", path, names[i]->d_name);
            ok &= replay(below, files);
        }
        free(names[i]);
    }
    free(names);
    return ok && count >= 0;
}

int main(int argc, char **argv)
{
    unsigned files = 0;
    int ok = 1;

    for (int i = 1; i < argc; i++)
        ok &= replay(argv[i], &files);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    printf("replayed %u files\n", files);
    return ok && files > 0 ? 0 : 1;
}
