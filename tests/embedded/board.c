/*
 * Start-up code, clock and serial line of the MPS2 AN386; see board.h. Receiving is by interrupt
 * into a ring, so that the processor sleeps while nothing happens; sending waits for the line. A
 * ring that is full stops receiving until there is room: the emulated line loses nothing.
 */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* UART 0 (CMSDK APB UART). */
#define UART_DATA REGISTER(0x40004000)
#define UART_STATE REGISTER(0x40004004)
#define UART_CONTROL REGISTER(0x40004008)
#define UART_CLEAR REGISTER(0x4000400c)
#define UART_DIVIDER REGISTER(0x40004010)
#define UART_STATE_SEND_FULL 1u
#define UART_STATE_RECEIVED 2u
#define UART_SEND 1u
#define UART_RECEIVE 2u
#define UART_RECEIVE_INTERRUPT 8u
#define UART_INTERRUPT_RECEIVED 2u

/* The first of the two timers (CMSDK dual timer): 32 bits, free running, a tick each 0.64 us. */
#define TIMER_LOAD REGISTER(0x40002000)
#define TIMER_VALUE REGISTER(0x40002004)
#define TIMER_CONTROL REGISTER(0x40002008)
#define TIMER_FREE_RUNNING (0x80u | 0x04u | 0x02u) /* on, a sixteenth of the clock, 32 bits */

/* SysTick and the interrupt controller of the processor. */
#define SYSTICK_CONTROL REGISTER(0xe000e010)
#define SYSTICK_RELOAD REGISTER(0xe000e014)
#define INTERRUPT_ENABLE REGISTER(0xe000e100)
#define INTERRUPT_PEND REGISTER(0xe000e200)
#define CLOCKS_PER_MILLISECOND 25000u

/* SLIP (RFC 1055). */
#define END 0xc0u
#define ESC 0xdbu
#define ESC_END 0xdcu
#define ESC_ESC 0xddu

#define RING 1024u /* a power of two */

extern uint32_t board_data_start[], board_data_end[], board_data_image[];
extern uint32_t board_bss_start[], board_bss_end[], board_stack_top[];

void board_reset(void);
static void on_fault(void);
static void on_systick(void);
static void on_received(void);

/* The vector table: the stack, 15 exceptions, the first interrupt. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[16])(void);
} vectors = {board_stack_top,
             {board_reset, on_fault, on_fault, on_fault, on_fault, on_fault, NULL, NULL, NULL, NULL,
              on_fault, on_fault, NULL, on_fault, on_systick, on_received}};

static struct {
    uint8_t ring[RING];
    volatile uint32_t in, out; /* bytes ever put in and taken out */
    uint8_t frame[BOARD_FRAME_MAX];
    uint32_t length; /* of the frame so far */
    bool escaped, spoilt;
    uint32_t ticks,
        rest; /* the timer as it was last read; its ticks that made no microsecond yet */
    tf_time now;
    uint32_t random;
} board;

/* --- start ---------------------------------------------------------------------------------------
 */

void board_reset(void)
{
    const uint32_t *from = board_data_image;

    for (uint32_t *to = board_data_start; to < board_data_end; to++)
        *to = *from++;
    for (uint32_t *to = board_bss_start; to < board_bss_end; to++)
        *to = 0;
    TIMER_LOAD = 0xffffffffu;
    TIMER_CONTROL = TIMER_FREE_RUNNING;
    board.ticks = TIMER_VALUE;
    board.random = 0x9e3779b9u;
    UART_DIVIDER = 16;
    UART_CONTROL = UART_SEND | UART_RECEIVE | UART_RECEIVE_INTERRUPT;
    INTERRUPT_ENABLE = 1;
    SYSTICK_RELOAD = CLOCKS_PER_MILLISECOND - 1;
    SYSTICK_CONTROL = 7; /* on, interrupt, the processor's clock */
    board_main();
    on_fault();
}

/* A trap, a bad access, or a firmware that has come to an end: says so, once, and stops. */
static void on_fault(void)
{
    UART_CONTROL = UART_SEND;
    board_say("fault");
    for (;;)
        __asm__ volatile("wfi");
}

static void on_systick(void)
{
}

static void on_received(void)
{
    UART_CLEAR = UART_INTERRUPT_RECEIVED;
    while (UART_STATE & UART_STATE_RECEIVED) {
        if (board.in - board.out == RING) {
            UART_CONTROL = UART_SEND | UART_RECEIVE; /* board_receive turns it on again */
            return;
        }
        board.ring[board.in % RING] = (uint8_t)UART_DATA;
        board.in++;
    }
}

/* --- time ----------------------------------------------------------------------------------------
 */

tf_time board_now(void)
{
    uint32_t ticks = TIMER_VALUE, passed = board.ticks - ticks; /* it counts down */
    uint32_t whole = passed / 25u;

    /* 25 ticks are 16 microseconds. */
    board.rest += (passed - whole * 25u) * 16u;
    board.now += (tf_time)whole * 16u + board.rest / 25u;
    board.rest %= 25u;
    board.ticks = ticks;
    return board.now;
}

void board_wait(void)
{
    if (board.in == board.out)
        __asm__ volatile("wfi"); /* SysTick ends it after a millisecond at most */
}

uint32_t board_random(void)
{
    board.random ^= TIMER_VALUE;
    board.random ^= board.random << 13;
    board.random ^= board.random >> 17;
    board.random ^= board.random << 5;
    return board.random;
}

/* --- the line ------------------------------------------------------------------------------------
 */

static void put(uint8_t byte)
{
    while (UART_STATE & UART_STATE_SEND_FULL)
        ;
    UART_DATA = byte;
}

/* Puts one byte of a frame (RFC 1055). */
static void put_escaped(uint8_t byte)
{
    if (byte == END || byte == ESC) {
        put(ESC);
        byte = byte == END ? ESC_END : ESC_ESC;
    }
    put(byte);
}

void board_send(uint8_t path, const struct tf_bytes *spans, size_t count)
{
    put_escaped(path);
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < spans[i].length; at++)
            put_escaped(spans[i].data[at]);
    }
    put(END);
}

void board_say(const char *text)
{
    struct tf_bytes span = tf_bytes_of(text, 0);

    while (text[span.length])
        span.length++;
    board_send(BOARD_TEXT, &span, 1);
}

/* Takes one byte of the line; true: a frame is complete. */
static bool take(uint8_t byte)
{
    if (byte == END) {
        bool whole = board.length > 0 && !board.spoilt;
        board.escaped = board.spoilt = false;
        if (!whole)
            board.length = 0;
        return whole;
    }
    if (byte == ESC) {
        board.escaped = true;
        return false;
    }
    if (board.escaped)
        byte = byte == ESC_END ? END : ESC;
    board.escaped = false;
    if (board.length == sizeof board.frame)
        board.spoilt = true; /* too long for this board */
    else
        board.frame[board.length++] = byte;
    return false;
}

bool board_receive(uint8_t *ret_path, struct tf_bytes *ret_data)
{
    bool whole = false;

    while (!whole && board.in != board.out) {
        whole = take(board.ring[board.out % RING]);
        board.out++;
    }
    UART_CONTROL = UART_SEND | UART_RECEIVE | UART_RECEIVE_INTERRUPT;
    if (UART_STATE & UART_STATE_RECEIVED)
        INTERRUPT_PEND = 1; /* a byte that came while the ring was full tells nobody again */
    if (!whole)
        return false;
    *ret_path = board.frame[0];
    *ret_data = tf_bytes_of(board.frame + 1, board.length - 1);
    board.length = 0;
    return true;
}
