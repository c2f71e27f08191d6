/* A CA's configuration: any bytes parse or are refused with words, and what parses fits together. */
#include <stdlib.h>
#include <string.h>

#include "ca/ca_conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void judge(const struct ca_conf *c)
{
	char text[256];
	size_t i = 0;

	if (!c->issuer_name || !c->listen || !c->db_path || c->db_path[0] != '/')
		abort();
	if (c->cal.cert_lifetime_ms > c->cal.ca_lifetime_ms || c->cal.overlap_ms >= c->cal.ca_lifetime_ms || c->cal.overlap_ms < 0)
		abort();
	if (c->key_bits < LIMIT_KEY_BITS_MIN || c->key_bits > LIMIT_KEY_BITS_MAX || (c->allow_des && c->profile != CA_PROFILE_LEGACY))
		abort();
	while (ca_conf_warning(c, i, text, sizeof(text)))
		i++;
	if (ca_conf_needs_restart(c, c) || !ca_conf_scep_policy(c))
		abort(); /* the same file asks for no restart */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(ca_conf) struct ca_conf *c = NULL;
	struct err e = { .code = 0 };
	int r = ca_conf_parse("X", (const char *) data, len, &c, &e);

	if (r < 0 && (c || !e.text[0]))
		abort(); /* refused without words, or half a result */
	if (r == 0)
		judge(c);
	return 0;
}
