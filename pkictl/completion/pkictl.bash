# bash completion for pkictl                                        -*- shell-script -*-

_pkictl_names() {
	local conf root=$1
	for conf in "$root"/etc/keyroll/trustpoints/*.conf; do
		[[ -e $conf ]] && printf '%s\n' "$(basename "$conf" .conf)"
	done
}

_pkictl_cas() {
	local conf root=$1
	for conf in "$root"/etc/keyroll/ca/*.conf; do
		[[ -e $conf ]] && printf '%s\n' "$(basename "$conf" .conf)"
	done
}

_pkictl_requests() {
	"$@" ca requests --no-legend 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1 }'
}

_pkictl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local common='--json --json=short --json=pretty --no-legend --no-pager --root= --help --version'
	local verbs='status list show timers authenticate enroll renew reload ca'
	local ca_verbs='init status requests grant reject list rollover'
	local i=1 word equals='' verb='' sub='' root='' options=$common
	local -a ask=(pkictl)

	# readline splits at '=': "--root=DIR" comes as three words
	while ((i < COMP_CWORD)); do
		word=${COMP_WORDS[i++]}
		if [[ $word == --* && ${COMP_WORDS[i]} == = ]]; then
			((i + 1 < COMP_CWORD)) && [[ $word == --root ]] && root=${COMP_WORDS[i+1]}
			((i += 2))
		elif [[ $word == --root=* ]]; then
			root=${word#--root=}
		elif [[ $word != -* && -z $verb ]]; then
			verb=$word
		elif [[ $word != -* && $verb == ca && -z $sub ]]; then
			sub=$word
		fi
	done
	# the value after '=' stands alone
	if [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]} equals=yes
	elif [[ $cur == = ]]; then
		cur='' equals=yes
	fi
	case $prev in
	--json) [[ $equals ]] && mapfile -t COMPREPLY < <(compgen -W 'short pretty' -- "$cur") && return ;;
	--root) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
	--challenge-file) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--ca | --yes) mapfile -t COMPREPLY < <(compgen -W "$(_pkictl_cas "$root")" -- "$cur"); return ;;
	--fingerprint) mapfile -t COMPREPLY < <(compgen -W 'sha256:' -- "$cur"); return ;;
	--reason | --max) return ;;
	esac

	case $verb in
	authenticate) options+=' --fingerprint=' ;;
	enroll) options+=' --challenge-file=' ;;
	ca)
		options+=' --ca='
		case $sub in
		requests | grant) options+=' --all' ;;
		reject) options+=' --all --reason=' ;;
		list) options+=' --max=' ;;
		rollover) options+=' --cancel --yes=' ;;
		esac ;;
	esac
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
		return
	fi

	[[ -n $root ]] && ask+=("--root=$root")
	case $verb/$sub in
	/) mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$cur") ;;
	ca/) mapfile -t COMPREPLY < <(compgen -W "$ca_verbs" -- "$cur") ;;
	ca/init) mapfile -t COMPREPLY < <(compgen -W "$(_pkictl_cas "$root")" -- "$cur") ;;
	ca/grant | ca/reject) mapfile -t COMPREPLY < <(compgen -W "$(_pkictl_requests "${ask[@]}")" -- "$cur") ;;
	ca/*) ;;
	*) mapfile -t COMPREPLY < <(compgen -W "$(_pkictl_names "$root")" -- "$cur") ;;
	esac
}

complete -F _pkictl pkictl
