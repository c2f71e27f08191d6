/* Advice: see advice.h. No I/O: the probes have been made. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "keystore/advice.h"

static void part_add(char ret[KS_ADVICE_BYTES], const char *text)
{
	size_t len = strlen(ret);

	if (text[0])
		(void) snprintf(ret + len, KS_ADVICE_BYTES - len, "%s%s", len > 0 ? "; " : "", text); /* cut is fine */
}

/* What the probe's errno (backend.h) asks for. "": nothing stands in the way. */
static const char *kernel_wants(int code)
{
	switch (-code) {
	case 0:
		return "";
	case ENOPKG:
		return "kernel: modprobe pkcs8_key_parser, or a kernel that has it";
	case ENODEV:
		return "kernel: a kernel with asymmetric keys, this one was built without";
	case EPERM:
	case EACCES:
	case ENOSYS:
		return "kernel: allow add_key and keyctl, which are denied here";
	case EDQUOT:
		return "kernel: raise kernel.keys.maxkeys and maxbytes, the quota is full";
	case EIO:
		return "kernel: another kernel, this one computes a wrong result";
	case ENOTSUP:
		return "kernel: another kernel, this one gives private keys back";
	default:
		return "kernel: see why the probe fails, in the journal";
	}
}

static const char *level_wants(const struct advice *a)
{
	const char *wants = kernel_wants(a->levels->why_not[KS_PROTECTION_KERNEL].code);

	if (a->in_force != KS_PROTECTION_KEYRING) /* a token and the kernel both keep a key for good */
		return "";
	return wants[0] ? wants : "kernel: to be had here, by Protection=auto or kernel and a new key";
}

static const char *seal_wants(const char *at_rest)
{
	static const struct { const char *word, *wants; } rows[] = {
		{ "host", "sealed by the host key: a TPM 2.0 would bind it to this machine" },
		{ "file", "sealed by a file beside the keys: systemd-creds would keep it apart (keyroll-seal@.service)" },
		{ "none", "not sealed, so gone at the next boot: Seal=auto would keep it" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(at_rest, rows[i].word) == 0)
			return rows[i].wants;
	return "";
}

void advice_build(const struct advice *a, char ret[KS_ADVICE_BYTES])
{
	char lost[80] = "";

	if (a->made_at != KS_PROTECTION_AUTO && a->in_force > a->made_at)
		(void) snprintf(lost, sizeof(lost), "made at level %s, restored at %s", ks_protection_name(a->made_at), ks_protection_name(a->in_force));
	ret[0] = '\0';
	part_add(ret, lost);
	part_add(ret, level_wants(a));
	part_add(ret, seal_wants(a->at_rest));
}

static const char *token_wants(int code)
{
	switch (-code) {
	case ENOTSUP:
		return "set [Token] Provider=, keyroll-keyd(8)";
	case EPERM:
		return "put the PIN into [Token] PINFile=, which this user alone may read (mode 0600)";
	default:
		return "see that the device is there and may be opened by this user";
	}
}

const char *advice_level(const struct backend_levels *levels, enum ks_protection wanted)
{
	enum ks_protection last = wanted == KS_PROTECTION_AUTO ? KS_PROTECTION_KEYRING : wanted; /* what auto falls back to */
	const char *wants = kernel_wants(levels->why_not[last].code); /* level keyring asks for the same system calls and quota */
	const char *colon = strstr(wants, ": "); /* behind the level's name */

	if (wanted == KS_PROTECTION_TOKEN)
		return token_wants(levels->why_not[wanted].code);
	return colon ? colon + 2 : "name another level, or auto";
}
