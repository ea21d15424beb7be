/*
 * The test of probability: with loss of p each way, one transmission of a CON and its answer
 * succeed with (1 - p)^2, and five of them (RFC 7252 4.8: MAX_RETRANSMIT is 4) with
 * 1 - (1 - (1 - p)^2)^5: at 30 % loss 96.5 %.
 *
 * The clients and the broker are those of every run. Of the exchanges half are GET, half PUT, whose
 * duplicates are answered from what the broker kept.
 */
#include "sim/coap.h"

#include "base/assert.h"

#include <string.h>

#define LOST 300u /* of a thousand */
#define ROUNDS 4u /* runs of the simulator, each with */
#define EXCHANGES 3000u

struct tally {
    uint64_t tried, answered;
};

/* One exchange of each client at a time: none waits behind another. */
static void round_of(struct tf_sim *sim, struct tally *tally)
{
    struct tf_sim_coap *coap = sim->coap;
    uint64_t lost = sim->seen[TF_SIM_COAP_TIMED_OUT];
    for (unsigned i = 0; i < coap->client_count; i++) {
        struct tf_sim_coap_wish wish = {
            .kind = TF_SIM_COAP_READ, .method = TF_COAP_GET, .address = i};
        if (tf_sim_chance(sim, 1, 2)) {
            wish.kind = TF_SIM_COAP_WRITE;
            wish.method = TF_COAP_PUT;
            wish.length = 20;
        }
        wish.address = i == TF_SIM_COAP_LOG ? 0 : i;
        bool asked = tf_sim_coap_client_ask(&coap->clients[i], &wish);
        tally->tried += asked;
        tally->answered += asked;
    }
    tf_sim_run_for(sim, 150 * TF_SECOND); /* MAX_TRANSMIT_WAIT is 93 s (4.8.2) */
    tally->answered -= sim->seen[TF_SIM_COAP_TIMED_OUT] - lost;
}

void tf_sim_coap_exchange(struct tf_sim *sim)
{
    struct tally tally = {0, 0};
    sim->coap->up.lost = sim->coap->down.lost = LOST;
    while (tally.tried < EXCHANGES && !sim->failed) {
        sim->coap->oracle.count = 0; /* it has no room for so many, and has nothing to say here */
        sim->message_count = 0;
        round_of(sim, &tally);
    }
    sim->coap->up.lost = sim->coap->down.lost = 0;
    sim->tried = tally.tried;
    sim->answered = tally.answered;
}

bool tf_sim_coap_success(struct tf_sim *sim, uint64_t *seen)
{
    double kept = (1000.0 - LOST) / 1000, miss = 1, theory, found;
    struct tally tally = {0, 0};
    for (unsigned i = 0; i < 5; i++) {
        miss *= 1 - kept * kept;
    }
    theory = 100 * (1 - miss);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct tf_sim_options options = {.seed = 1 + i, .coap = true, .success = true};
        if (!tf_sim_run(sim, &options, seen)) {
            printf("failed %s\n", sim->failure);
            return false;
        }
        tally.tried += sim->tried;
        tally.answered += sim->answered;
    }
    found = 100.0 * (double)tally.answered / (double)tally.tried;
    bool good = found > theory - 1 && found < theory + 1;
    printf("%llu CON exchanges at %u %% loss each way: %.2f %% answered, %.2f %% by theory: %s\n",
           (unsigned long long)tally.tried, LOST / 10, found, theory, good ? "good" : "FAILED");
    return good;
}
