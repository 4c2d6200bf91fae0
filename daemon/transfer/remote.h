/* A worker process that carries exchanges, seen from the daemon: started when it is needed. */
#pragma once

#include "daemon/transfer/carrier.h"

extern const struct carrier_type remote_carrier;
