/* Plays a fuzz target without libFuzzer: each file of a corpus as it stands, then mutations of
 * them.
 *
 *     fuzz_resp [--seed N] [--runs N] FILE|FOLDER...
 *
 * The mutations are libFuzzer's plain ones (flip, insert, drop, repeat, splice), without its sense
 * of coverage. They follow from the seed, which is fixed unless it is given: a test that passes
 * today passes tomorrow. The input that was being played when the program died is in the file
 * `crash` of the working folder.
 */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 64 * 1024, RUNS_DEFAULT = 10000 };

struct corpus {
	struct bytes *inputs;
	size_t count;
};

static struct bytes current; /* what is being played: for on_death() */
static uint64_t state = 1;

static uint64_t random_below(uint64_t limit)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return limit == 0 ? 0 : (z ^ (z >> 31)) % limit;
}

static void on_death(int number)
{
	FILE *file = fopen("crash", "w");
	if (file != NULL) {
		fwrite(current.data, 1, current.len, file);
		fclose(file);
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* In memory of exactly its size, so that ASan sees a read behind it. */
static void play(struct slice input)
{
	bytes_clear(&current);
	bytes_append_slice(&current, input);
	uint8_t *exact = mem_alloc(input.len);
	memcpy(exact, input.data == NULL ? "" : input.data, input.len);
	LLVMFuzzerTestOneInput(exact, input.len);
	free(exact);
}

static void read_into(struct corpus *corpus, const char *path)
{
	FILE *file = fopen(path, "r");
	if (file == NULL) {
		perror(path);
		exit(1);
	}
	corpus->inputs =
		mem_realloc(corpus->inputs, (corpus->count + 1) * sizeof(corpus->inputs[0]));
	struct bytes *input = &corpus->inputs[corpus->count++];
	*input = (struct bytes){0};
	input->len = fread(bytes_reserve(input, INPUT_MAX), 1, INPUT_MAX, file);
	fclose(file);
}

static void read_path(struct corpus *corpus, const char *path)
{
	struct stat info;
	if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
		read_into(corpus, path);
		return;
	}
	struct dirent **names = NULL;
	int count = scandir(
		path, &names, NULL, alphasort); /* sorted: a seed means the same everywhere */
	if (count < 0) {
		perror(path);
		exit(1);
	}
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			struct bytes file = {0};
			bytes_printf(&file, "%s/%s", path, names[i]->d_name);
			bytes_append(&file, "", 1);
			read_into(corpus, file.data);
			bytes_finish(&file);
		}
		free(names[i]);
	}
	free(names);
}

static struct slice some_part(const struct corpus *corpus)
{
	const struct bytes *from = &corpus->inputs[random_below(corpus->count)];
	size_t start = random_below(from->len + 1);
	size_t len = random_below(from->len - start + 1);
	return (struct slice){from->data == NULL ? "" : from->data + start, len};
}

/* Put `what` at a random place of `input`. */
static void insert(struct bytes *input, struct slice what)
{
	size_t at = random_below(input->len + 1);
	bytes_reserve(input, what.len);
	memmove(input->data + at + what.len, input->data + at, input->len - at);
	memcpy(input->data + at, what.data, what.len);
	input->len += what.len;
}

static void drop(struct bytes *input)
{
	size_t at = random_below(input->len + 1);
	size_t len = random_below(input->len - at + 1);
	if (len > 0) {
		memmove(input->data + at, input->data + at + len, input->len - at - len);
		input->len -= len;
	}
}

static void mutate(const struct corpus *corpus, struct bytes *input)
{
	static const char *const favourites[] = {"\r\n", "\n", "\0", "-1", "0", "4294967296",
		"9223372036854775807", "18446744073709551616", " ", "\xff", "\"", "$", "*", "\\x"};
	char byte = (char)random_below(256);
	switch (random_below(6)) {
	case 0:
		if (input->len > 0) {
			input->data[random_below(input->len)] = byte;
		}
		break;
	case 1:
		insert(input, (struct slice){&byte, 1});
		break;
	case 2:
		drop(input);
		break;
	case 3: {
		const char *word =
			favourites[random_below(sizeof(favourites) / sizeof(favourites[0]))];
		insert(input, word[0] == '\0' ? SLICE("\0") : slice_of(word));
		break;
	}
	case 4:
		insert(input, some_part(corpus));
		break;
	default:
		input->len = random_below(input->len + 1);
		break;
	}
	input->len = input->len > INPUT_MAX ? INPUT_MAX : input->len;
}

static void play_mutations(const struct corpus *corpus, uint64_t runs)
{
	struct bytes input = {0};
	for (uint64_t run = 0; run < runs; run++) {
		const struct bytes *from = &corpus->inputs[random_below(corpus->count)];
		bytes_clear(&input);
		bytes_append(&input, from->data, from->len);
		for (uint64_t n = random_below(6) + 1; n > 0; n--) {
			mutate(corpus, &input);
		}
		play(bytes_slice(&input));
	}
	bytes_finish(&input);
}

int main(int argc, char **argv)
{
	struct corpus corpus = {NULL, 0};
	uint64_t runs = RUNS_DEFAULT;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
			state = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc) {
			runs = strtoull(argv[++i], NULL, 10);
		} else {
			read_path(&corpus, argv[i]);
		}
	}
	if (corpus.count == 0) {
		fprintf(stderr, "usage: %s [--seed N] [--runs N] FILE|FOLDER...\n", argv[0]);
		return 2;
	}
	signal(SIGABRT, on_death);
	printf("%zu files, %llu mutations, seed %llu\n", corpus.count, (unsigned long long)runs,
		(unsigned long long)state);
	for (size_t i = 0; i < corpus.count; i++) {
		play(bytes_slice(&corpus.inputs[i]));
	}
	play_mutations(&corpus, runs);
	for (size_t i = 0; i < corpus.count; i++) {
		bytes_finish(&corpus.inputs[i]);
	}
	free(corpus.inputs);
	bytes_finish(&current);
	return 0;
}
