/* What comes as text: message= of a GET, capabilities; and URLs that are built from it. */
#include <stdlib.h>
#include <string.h>

#include "scep/scep.h"
#include "tests/fuzz/fuzz.h"

int fuzz_one(const uint8_t *data, size_t len)
{
	AUTO(buf) struct buf out = BUF_EMPTY;
	AUTO(buf) struct buf text = BUF_EMPTY;
	AUTO(buf) struct buf url = BUF_EMPTY;
	unsigned caps = scep_caps_parse(data, len);

	if (scep_message_decode((const char *) data, len, &out, NULL) == 0 && out.len > LIMIT_SCEP_MESSAGE_BYTES)
		abort();
	if (scep_caps_build(caps, &text) == 0 && scep_caps_parse(text.data, text.len) != caps)
		abort();
	if (scep_url_build("http://ca", "GetCACert", data, len, false, &url, NULL) == 0 && memchr(url.data, '\n', url.len))
		abort();
	return 0;
}
