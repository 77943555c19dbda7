/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what the controller's HTTP servers answer. */
#ifndef KVRAIL_CONTROLLER_SERVE_H
#define KVRAIL_CONTROLLER_SERVE_H

#include "controller/state.h"
#include "rpc/httpd.h"

/* The plain server: /metrics, /healthz, /readyz. @controller is a struct controller. */
void controller_serve(void *controller, struct httpd_request *rq, struct httpd_reply *reply);

#endif
