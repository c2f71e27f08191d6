/* keyroll-cad as one object: everything that serves one CA. */
#ifndef KEYROLL_CA_CAD_H
#define KEYROLL_CA_CAD_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "ca/ca_control.h"
#include "ca/calendar.h"
#include "ca/db.h"
#include "ca/httpd.h"
#include "ca/service.h"
#include "ca/signer_client.h"
#include "ca/view.h"

struct cad {
	sd_event *event;
	const char *name;
	struct view_conf *conf;
	struct signer *signer;
	struct db *db;
	struct service *service;
	struct calendar *calendar;
	struct httpd *httpd;
	struct ca_control *control;
	struct ks_key key; /* facts of the active key, for status */
	bool verbose;
};

struct cad_options {
	const char *name; /* of the CA */
	bool verbose;
};

/* Serves until SIGTERM or SIGINT. */
int cad_run(const struct cad_options *o, struct err *reterr) CHECKED;
/* Reads the configuration again; the running one stays when the new one is wrong. -EINVAL */
int cad_reload(struct cad *c, struct err *reterr) CHECKED;

/* `keyroll-cad --init`: key, certificate, fingerprint. -EEXIST when there is one. */
int init_run(const struct cad_options *o, struct err *reterr) CHECKED;

extern const struct ca_control_ops cad_control_ops; /* userdata: struct cad */

#endif
