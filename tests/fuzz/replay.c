// SPDX-License-Identifier: Apache-2.0
/* replay.c: main() of a fuzz target in the ordinary test run: every file of its corpus, as TAP. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(1 << 20), *exact;
	size_t n;

	if (!f || !data)
		return -1;
	n = fread(data, 1, 1 << 20, f);
	fclose(f);
	exact = malloc(n ? n : 1); /* of the exact size, so that ASan sees a read past its end */
	if (!exact)
		return -1;
	for (size_t i = 0; i < n; i++)
		exact[i] = data[i];
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	struct dirent **names = NULL;
	char path[4096];
	int n = argc == 2 ? scandir(argv[1], &names, NULL, alphasort) : -1, done = 0;

	if (n < 0)
		return 2;
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] == '.') {
			free(names[i]);
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
		printf("%s %d - replays %s\n", replay(path) ? "not ok" : "ok", ++done,
		       names[i]->d_name);
		fflush(stdout);
		free(names[i]);
	}
	free(names);
	printf("1..%d\n", done);
	return done ? 0 : 1;
}
