// SPDX-License-Identifier: GPL-2.0-only
/* The same tables for the program that old kernels get: bpf/instance_old.bpf.c. */
#define TEST_OLD true
#include "test_steer.c"
