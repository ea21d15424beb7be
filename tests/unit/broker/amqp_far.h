/*
 * What the driver of AMQP fronts needs of its far ends.
 */
#ifndef TF_TEST_BROKER_AMQP_FAR_H
#define TF_TEST_BROKER_AMQP_FAR_H

#include "unit/broker/amqp_driver.h"

/* Moves what a far end has to write to the broker, and what the broker wrote to it. True: something
 * has moved. */
bool far_exchange(struct far *far);

void far_free(struct far *far);

#endif
