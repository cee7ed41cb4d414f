# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Completion of portsteer for bash. scripts/check-docs compares the words below with
# the program's own tables.

_portsteer_commands="load unload upgrade add allow del flush apply check save list stats status probe version help"
_portsteer_global="--netns --json -j --quiet -q --verbose -v --color --help -h --version -V"

# The options of one command.
_portsteer_options() {
	case $1 in
	add) echo "--user --cgroup --any-user --client-cgroup --if-down --name --mode --file -f" ;;
	allow) echo "--user --cgroup --any-user --name" ;;
	del) echo "--client-cgroup" ;;
	unload) echo "--all" ;;
	apply) echo "--file -f --dry-run --only --keep-going --allow-empty" ;;
	check) echo "--file -f --allow-empty" ;;
	list) echo "--all" ;;
	stats) echo "--all" ;;
	help) echo "--table" ;;
	esac
}

# Files first, so that bash may go on with them.
_portsteer_files() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

_portsteer_netns() {
	local names=''
	if [[ $1 == */* ]]; then
		_portsteer_files "$1"
		return
	fi
	[[ ! -d /run/netns ]] || names=$(ls /run/netns)
	mapfile -t COMPREPLY < <(compgen -W "$names pid:" -- "$1")
}

# Below the cgroup2 root, wherever that is.
_portsteer_cgroup() {
	local root
	root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	compopt -o nospace -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(
		compgen -W "pid: unit: container:" -- "$1"
		cd "${root:-/}" 2>/dev/null && compgen -d -S / -- "$1"
	)
}

# Values of the option before the cursor; fails if it takes none.
_portsteer_value() {
	case $1 in
	--user) mapfile -t COMPREPLY < <(compgen -u -- "$2") ;;
	--netns) _portsteer_netns "$2" ;;
	--cgroup | --client-cgroup) _portsteer_cgroup "$2" ;;
	--color) mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$2") ;;
	--if-down) mapfile -t COMPREPLY < <(compgen -W "refuse pass" -- "$2") ;;
	--mode) mapfile -t COMPREPLY < <(compgen -W "steer bind connect" -- "$2") ;;
	--file | -f) _portsteer_files "$2" ;;
	--name) COMPREPLY=() ;;
	*) return 1 ;;
	esac
}

# The first word that is neither an option nor an option's value.
_portsteer_command() {
	local word skip=''
	for word in "${@:2}"; do
		if [[ -n $skip ]]; then
			skip=''
			continue
		fi
		case $word in
		--netns | --color | --user | --cgroup | --client-cgroup | --if-down | --name | --mode | --file | -f)
			skip=1
			;;
		-*) ;;
		*)
			echo "$word"
			return
			;;
		esac
	done
}

_portsteer() {
	local words=() cword current previous command join=''
	# "pid:" and "80:8080" are one word each, though bash breaks them at colons.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n : words cword
		join=1
	else
		words=("${COMP_WORDS[@]}")
		cword=$COMP_CWORD
	fi
	current=${words[cword]}
	previous=${words[cword - 1]}
	COMPREPLY=()
	command=$(_portsteer_command "${words[@]:0:cword}")
	if _portsteer_value "$previous" "$current"; then
		:
	elif [[ $current == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$_portsteer_global $(_portsteer_options "$command")" -- "$current")
	elif [[ -z $command || $command == help ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$_portsteer_commands" -- "$current")
	elif [[ $command == del ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_portsteer_rules)" -- "$current")
	fi
	[[ -z $join ]] || __ltrim_colon_completions "$current"
}

# The rules there are now; nothing if one is not root.
_portsteer_rules() {
	portsteer list --json 2>/dev/null | grep -o '"rule": *"[^"]*"' | cut -d '"' -f 4
}

complete -F _portsteer portsteer
