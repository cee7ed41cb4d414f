// SPDX-License-Identifier: GPL-2.0-only
#include "context.h"

#include <errno.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

bool ps_context_may_be_misnamed(int ret)
{
	return ret == -EINVAL || ret == -EACCES;
}

int ps_context_rename(struct bpf_object *object)
{
	struct btf *btf = bpf_object__btf(object);
	int id = btf ? btf__find_by_name_kind(btf, "bpf_sk_lookup", BTF_KIND_STRUCT) : -ENOENT;
	int name = id < 0 ? id : btf__add_str(btf, "__sk_buff");

	if (name < 0)
		return name;
	/* Types may have moved as the name was added. libbpf has no call for another name, and
	 * gives types to read only, but of memory that is its object's own. */
	((struct btf_type *)btf__type_by_id(btf, (__u32)id))->name_off = (__u32)name;
	return 0;
}
