// SPDX-License-Identifier: GPL-2.0-only
/* swap_link FOLDER-OR-LINK SPARE TARGET: exchange a folder and a symbolic link to TARGET for ever,
 * making what is missing: as a user may who is allowed to write beside root's state. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	for (;;) {
		struct stat st;

		mkdir(argv[1], 0755);
		if (symlink(argv[3], argv[2])) {
			/* It is there. */
		}
		if (!renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE))
			continue;
		if (!lstat(argv[2], &st) && !S_ISLNK(st.st_mode) && symlink(argv[3], argv[1]))
			continue;
	}
}
