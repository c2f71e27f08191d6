/* Cleanup of what the demo's two programs own beside common/auto_ssl.h. */
#ifndef KEYROLL_TESTS_DEMO_AUTO_TLS_H
#define KEYROLL_TESTS_DEMO_AUTO_TLS_H

#include <openssl/ssl.h>
#include <systemd/sd-event.h>

#include "common/auto_ssl.h"

static inline void event_unref_(sd_event *e)
{
	(void) sd_event_unref(e); /* returns NULL */
}
AUTO_DEFINE(ssl, SSL *, SSL_free);
AUTO_DEFINE(ssl_ctx, SSL_CTX *, SSL_CTX_free);
AUTO_DEFINE(event, sd_event *, event_unref_);

#endif
