/* SPDX-License-Identifier: Apache-2.0 */
/* A network is a VPC with a subnet in each zone, an internet gateway and a route to it. */
#ifndef PRVNG_AWS_NETWORK_H
#define PRVNG_AWS_NETWORK_H

#include "aws.h"

struct network {
        char id[64], address[64], op_id[32]; /* id "": there is none */
        json_t *others;                      /* ids of further VPCs with the same op id */
        char gateway[64];                    /* "": none, or none of ours */
        bool attached, routed;
        json_t *subnets; /* zone -> {"id", "address", "public"} */
        char route_table[64];
};

void network_deinit(struct network *n);

/* What is there: the VPC of that id, or by marks (that of op_id before others). DONE or a class. */
int32_t network_look(struct op *o, const char *id, const char *op_id, struct network *ret, struct fault *f);

/* The zones where it has to have subnets: those of the request, else some of the region's. */
int32_t network_zones(struct op *o, json_t **ret, struct fault *f);

json_t *network_result(struct op *o, const struct network *n);
/* What the request wants and is not there, as "drift". */
json_t *network_drift(const struct op *o, const struct network *n, const json_t *zones);

/* The CIDR of the i-th of 2^bits parts; "" if there is none. */
void network_part(const char *address, unsigned bits, unsigned i, char ret[64]);

#endif
