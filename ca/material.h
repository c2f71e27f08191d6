/* The CA's certificates and last CRLs as files of /var/lib/keyroll/ca/NAME: ca.pem, next.pem, previous.pem, SPKI16.crl. The order of writing is such that
 * a power cut leaves the CA before a change or after it. */
#ifndef KEYROLL_CA_MATERIAL_H
#define KEYROLL_CA_MATERIAL_H

#include <openssl/x509.h>

#include "common/buf.h"
#include "common/err.h"
#include "lifecycle/car.h"

/* Makes the folder. */
int material_folder_make(const char *ca, struct err *reterr) CHECKED;
/* -ENOENT when there is none. */
int material_load(const char *ca, enum car_recipient role, X509 **ret, struct err *reterr) CHECKED;
int material_store(const char *ca, enum car_recipient role, X509 *cert, struct err *reterr) CHECKED;
int material_remove(const char *ca, enum car_recipient role, struct err *reterr) CHECKED;
/* ca.pem is copied to previous.pem, then one rename makes next.pem the new ca.pem: cut before the rename, nothing has happened yet. */
int material_switch(const char *ca, struct err *reterr) CHECKED;

int material_crl_load(const char *ca, const char *crl_name, struct buf *ret, struct err *reterr) CHECKED;
int material_crl_store(const char *ca, const char *crl_name, const struct buf *der, struct err *reterr) CHECKED;
int material_crl_remove(const char *ca, const char *crl_name, struct err *reterr) CHECKED;

#endif
