/* SPDX-License-Identifier: GPL-2.0-only */
/* What this process may do. */
#ifndef PORTSTEER_PRIVILEGE_H
#define PORTSTEER_PRIVILEGE_H

#include <stdbool.h>

/* What loading a program said: `ret`, or -EPERM where it may have been refused for a lack of
 * rights only. The verifier has other words for that (-EACCES, -EINVAL), as if the kernel
 * did not know the program. */
int ps_load_result(int ret);

/* Is this process root, with the capabilities that ps_rights() names? */
bool ps_has_rights(void);

#endif
