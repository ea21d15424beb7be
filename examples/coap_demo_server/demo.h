/*
 * The resources of the demo server: /time, /temp, /humidity, /alarm, /separate, /other/separate,
 * /other/block.
 */
#ifndef EXAMPLES_DEMO_H
#define EXAMPLES_DEMO_H

#include <trefoil/coap_server.h>

/* Adds them to the tree; `delay` is how long /separate takes. False: it has such names already. */
bool demo_add(struct tf_coap_resource *root, tf_time delay);

/* Another second has gone. */
void demo_second(struct tf_coap_server *server);

/* Gives the answers whose time has come; when that of the next one does. */
tf_time demo_answer(struct tf_coap_server *server, tf_time now);

#endif
