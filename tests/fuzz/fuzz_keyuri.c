/* A key's name from whoever runs a program with our provider, or writes the file that it reads. What was read fits its bounds and is built again. */
#include <assert.h>
#include <string.h>

#include "keystore/keyuri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void uri_read(const char *text, size_t len)
{
	struct keyuri u;

	if (keyuri_parse(text, len, &u, NULL) < 0)
		return;
	assert(u.label[0] != '\0' && u.slot < KS_SLOT_N_);
	assert(memchr(u.label, '\0', sizeof(u.label)) && memchr(u.socket, '\0', sizeof(u.socket)));
	assert(strlen(u.spki) == 0 || strlen(u.spki) == CUSTODY_SPKI_BYTES);
	assert(!strchr(u.label, '/') && strlen(u.label) <= len);
}

static void file_build(const char *text, size_t len)
{
	AUTO(buf) struct buf pem = BUF_EMPTY;
	char copy[KEYURI_BYTES + 1];

	if (len > KEYURI_BYTES)
		return;
	memcpy(copy, text, len);
	copy[len] = '\0';
	assert(keyuri_pem_build(copy, &pem) == 0 && pem.len > strlen(copy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = NULL;
	size_t len = 0;

	uri_read((const char *) data, size);
	file_build((const char *) data, size);
	if (keyuri_der_parse(data, size, &text, &len) == 0) {
		assert(text >= (const char *) data && text + len == (const char *) data + size);
		uri_read(text, len);
	}
	return 0;
}
