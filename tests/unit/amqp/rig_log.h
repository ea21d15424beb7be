/*
 * What happens on a rig, as text: a line for an event, a line for a frame that a raw peer receives.
 */
#ifndef TESTS_AMQP_RIG_LOG_H
#define TESTS_AMQP_RIG_LOG_H

#include "rig.h"

/* Forgets a text; checks that it is exactly `lines` and forgets it. */
void rig_text_clear(struct rig_text *text);
void rig_text_expect(struct rig_text *text, const char *lines);

/* Adds an event to an end's log. */
void rig_log_event(struct rig_end *end, const struct tf_amqp_event *event);

/* Takes whole headers and frames off what a raw peer has received, and logs them. */
void rig_log_raw(struct rig_end *peer);

#endif
