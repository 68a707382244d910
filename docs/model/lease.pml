/*
 * The lease protocol, for Spin: a host that forwards, its successors, three arbiters, one router.
 *
 * Rule: a host forwards while its router is in the kernel's active set and the kernel's lease is alive.
 * Invariant, asserted after every step: never two hosts forward.
 * README.md beside this file says what is abstracted and why nothing is lost by it; `check` runs it.
 *
 * Host A is the active one. B may succeed A. With SECOND, C may succeed both, when both are buried. A host starts in
 * incarnation 1 and may come back once, in incarnation 2, with nothing active and no right.
 * Nobody may claim the last successor, so its own lease restrains nothing: it counts as always held.
 *
 * Time is a count of ticks, the same for all. What runs out is a countdown; a tick moves all of them at once, and between
 * two ticks anything else may happen, in any order, or nothing. So every process may pause, everywhere, for any time.
 * A datagram may be lost, late, twice or overtaken. Of those on their way, the model keeps what the youngest is still worth.
 *
 * Each -D name in `check` takes one rule away; LOWER_GRANTED and HALVED take away what safety does not need.
 */

#ifndef L
#define L 2                         /* a lease in ticks, at most 3; as long as an arbiter counts a grant */
#endif
#if defined(HALVED)
#define QUIET L
#define WINDOW L
#elif defined(NO_QUIET)
#define QUIET 0
#elif defined(SHORT_QUIET)
#define QUIET L
#endif
#ifndef QUIET
#define QUIET (2 * L)               /* silence of a restarted arbiter */
#endif
#ifndef WINDOW
#define WINDOW (2 * L)              /* age of the oldest answer that a claim may count */
#endif
#ifdef SHORT_ARBITER
#define GRANTED (L - 1)
#else
#define GRANTED L
#endif

#define A 0
#define B 1
#define C 2
#ifdef SECOND
#define SUBJECTS 2                  /* hosts that can be claimed */
#else
#define SUBJECTS 1
#endif
#define AT(a, h) ((a) * SUBJECTS + (h))

/* What each arbiter remembers of each host, AT(arbiter, host), until it restarts. */
byte granted[3 * SUBJECTS];         /* ticks until its grant expires */
bit newer[3 * SUBJECTS];            /* it has heard incarnation 2; the grant is for that */
bit buried[3 * SUBJECTS];           /* it refuses incarnation 1 */
byte quiet[3];                      /* ticks until it answers again */

/* Datagrams. RENEW is told by `age`; CLAIM needs no place, since a successor may claim at any time. */
byte grant[3 * SUBJECTS];           /* GRANT: ticks of lease that it still gives */
byte answer[3 * SUBJECTS];          /* BURIED, on its way or there: ticks for which a claim may count it, plus 1 */

/* Hosts that can be claimed. */
#define ASKING 0                    /* incarnation 1, no lease yet */
#define HOLDING 1                   /* incarnation 1 */
#define OVER 2                      /* lapsed, refused or crashed; its kernel still as it was */
#define BACK 3                      /* incarnation 2 */
byte stage[SUBJECTS];
byte age[SUBJECTS];                 /* of the youngest RENEW of incarnation 1; any older one may be on its way too */
byte ends[3 * SUBJECTS];            /* ticks of lease that each arbiter's grants still give, as the host counts them */
byte refresh[SUBJECTS];             /* HoldLease, decided and not yet carried out */
byte kernel[SUBJECTS];              /* ticks until the kernel's lease ends */

bit known[SUBJECTS];                /* a claim of it succeeded; whoever acts on that may do so late */
bit opening[SUBJECTS + 1];          /* Activate, decided and not yet carried out */
bit opened[SUBJECTS + 1];             /* the router is in the kernel's active set */

#define MIN(x, y) ((x) < (y) -> (x) : (y))
#define MAX(x, y) ((x) > (y) -> (x) : (y))
#ifdef MINORITY_LEASE
#define LEASE(h) MAX(ends[AT(0, h)], MAX(ends[AT(1, h)], ends[AT(2, h)]))
#else
#define LEASE(h) MAX(MIN(ends[AT(0, h)], ends[AT(1, h)]), MIN(MAX(ends[AT(0, h)], ends[AT(1, h)]), ends[AT(2, h)]))
#endif
#define ANSWERS(h) ((answer[AT(0, h)] > 0) + (answer[AT(1, h)] > 0) + (answer[AT(2, h)] > 0))
#ifdef MINORITY_CLAIM
#define QUORUM 1
#else
#define QUORUM 2
#endif

/* A host that is back has nothing active: only what lets it forward, or asks whether it holds a lease, looks at that lease. */
#if defined(KEEP_ACTIVE) || defined(BACK_UNWITHDRAWN) || defined(STALE_ACTIVATE) || defined(REACH_RETURN)
#define LEASE_WHEN_BACK
#endif
#define RUNS(h) (stage[h] <= HOLDING)
#if defined(REVIVE_LAPSED)
#define COUNTS(h) true
#elif defined(STALE_ACTIVATE)
#define COUNTS(h) (RUNS(h) || h == B && stage[h] == BACK)
#elif defined(LEASE_WHEN_BACK)
#define COUNTS(h) (stage[h] != OVER)
#else
#define COUNTS(h) RUNS(h)
#endif
#ifdef PLANNED_EARLY
#define PLANNED(h) true
#else
#define PLANNED(h) (stage[h] != ASKING)  /* the plan names an incarnation once it has held its lease */
#endif

/* Nobody asks any more what the arbiters remember of it. */
#define SETTLED(h) (known[h] && stage[h] == BACK && !COUNTS(h))

#define FORWARDS(h) (opened[h] && kernel[h] > 0)
#ifdef SECOND
#define FORWARDING (FORWARDS(A) + FORWARDS(B) + opened[C])
#else
#define FORWARDING (FORWARDS(A) + opened[B])
#endif

/* What must be reachable, asserted never to be: so that a search that finds nothing has looked at something. */
#define MIDST(a) (answer[AT(a, A)] > 0 && quiet[a] > 0)
#define AGAIN(a) (granted[AT(a, A)] > 0 && !newer[AT(a, A)])
#if defined(REACH_TAKEOVER)
#define NEVER !opened[SUBJECTS]
#elif defined(REACH_RETURN)
#define NEVER !(opened[B] && stage[A] == BACK && LEASE(A) > 0)
#elif defined(REACH_RESTART_IN_CLAIM)
#define NEVER !(!known[A] && ANSWERS(A) == QUORUM && (MIDST(0) || MIDST(1) || MIDST(2)))
#elif defined(REACH_GRANT_FORGOTTEN)
#define NEVER !(opened[B] && (AGAIN(0) || AGAIN(1) || AGAIN(2)))
#else
#define NEVER FORWARDING < 2
#endif

/* Arbiters are alike: of the states that differ only in which is which, one is kept. */
#define SEEN(a, h) (((((granted[AT(a, h)] * 2 + newer[AT(a, h)]) * 2 + buried[AT(a, h)]) * 4 + grant[AT(a, h)]) * 4 \
  + ends[AT(a, h)]) * 8 + answer[AT(a, h)])
#ifdef SECOND
#define RANK(a) ((SEEN(a, A) * 2048 + SEEN(a, B)) * 8 + quiet[a])
#else
#define RANK(a) (SEEN(a, A) * 8 + quiet[a])
#endif
inline swap(x, y) { t = x; x = y; y = t }
inline swap_host(a, b, h) {
  swap(granted[AT(a, h)], granted[AT(b, h)]);
  swap(newer[AT(a, h)], newer[AT(b, h)]);
  swap(buried[AT(a, h)], buried[AT(b, h)]);
  swap(grant[AT(a, h)], grant[AT(b, h)]);
  swap(ends[AT(a, h)], ends[AT(b, h)]);
  swap(answer[AT(a, h)], answer[AT(b, h)])
}
inline order(a, b) {
  if
  :: RANK(a) > RANK(b) ->
     swap_host(a, b, A);
#ifdef SECOND
     swap_host(a, b, B);
#endif
     swap(quiet[a], quiet[b])
  :: else
  fi
}

#define clear(x, h) x[AT(0, h)] = 0; x[AT(1, h)] = 0; x[AT(2, h)] = 0
inline settle(h) {
  if
  :: SETTLED(h) -> clear(granted, h); clear(newer, h); clear(buried, h)
  :: else
  fi
}
#ifdef SECOND
#define SETTLE_B settle(B)
#else
#define SETTLE_B skip
#endif

/* After every step. */
inline check() { assert(NEVER); settle(A); SETTLE_B; order(0, 1); order(1, 2); order(0, 1); i = 0; t = 0 }

inline down(x) { x = MAX(x, 1) - 1 }

/* An incarnation that is over counts no GRANT any more, and a process that died has decided nothing. */
inline end(h) {
  stage[h] = OVER;
  age[h] = 0;
#ifndef RELATIVE_REFRESH
  refresh[h] = 0;
#endif
#ifndef REVIVE_LAPSED
  clear(grant, h);
  clear(ends, h)
#endif
}

#define TICK :: d_step { true -> \
  for (i : 0 .. 3 * SUBJECTS - 1) { down(granted[i]); down(ends[i]); AGE_GRANT; AGE_ANSWER } \
  for (i : 0 .. 2) { down(quiet[i]) } \
  for (i : 0 .. SUBJECTS - 1) { \
    down(kernel[i]); AGE_REFRESH; \
    if :: stage[i] >= OVER -> age[i] = MIN(age[i] + 1, L) :: stage[i] == HOLDING && LEASE(i) == 0 -> LAPSE(i) :: else fi \
  } \
  check() }
#ifdef GRANT_FROM_RECEIPT
#define AGE_GRANT skip
#define WORTH(d) L
#else
#define AGE_GRANT down(grant[i])
#define WORTH(d) (L - d)
#endif
#ifdef NO_WINDOW
#define AGE_ANSWER skip
#else
#define AGE_ANSWER down(answer[i])
#endif
#ifdef RELATIVE_REFRESH
#define AGE_REFRESH skip
#else
#define AGE_REFRESH down(refresh[i])
#endif
#ifdef RENEW_LAPSED
#define LAPSE(h) skip
#else
#define LAPSE(h) end(h)
#endif

/* The arbiter's side. A RENEW that is d ticks old reaches arbiter a; it grants; its GRANT may be lost like any other. */
#ifdef LOWER_GRANTED
#define NOT_LOWER(a, h) true
#else
#define NOT_LOWER(a, h) !newer[AT(a, h)]
#endif
#ifdef GRANT_BURIED
#define NOT_BURIED(a, h) true
#else
#define NOT_BURIED(a, h) !buried[AT(a, h)]
#endif
#define RENEW(a, h, d) :: d_step { d <= L && !quiet[a] && !SETTLED(h) && NOT_LOWER(a, h) && NOT_BURIED(a, h) && (RUNS(h) || age[h] <= d) -> \
  newer[AT(a, h)] = 0; granted[AT(a, h)] = GRANTED; send_grant(a, h, WORTH(d)); check() }
inline send_grant(a, h, worth) {
  if
  :: COUNTS(h) && stage[h] != BACK && worth > ends[AT(a, h)] -> grant[AT(a, h)] = MAX(grant[AT(a, h)], worth)
  :: else
  fi;
#ifdef SECOND
  receive(a, h);
  kernel[h] = MAX(kernel[h], LEASE(h))
#endif
}

/* A RENEW of incarnation 2: the host itself says that 1 is over. */
#ifdef LEASE_WHEN_BACK
#define RENEW_NEWER(a, h) :: d_step { !quiet[a] && stage[h] == BACK -> \
  newer[AT(a, h)] = 1; granted[AT(a, h)] = GRANTED; grant[AT(a, h)] = L; keep_newer(a, h); check() }
#else
#define RENEW_NEWER(a, h) :: d_step { !quiet[a] && !SETTLED(h) && stage[h] == BACK -> newer[AT(a, h)] = 1; granted[AT(a, h)] = 0; check() }
#endif
inline keep_newer(a, h) {
#ifdef SECOND
  receive(a, h);
  kernel[h] = MAX(kernel[h], LEASE(h))
#else
  skip
#endif
}

/* A successor claims the first of its right that is not buried. */
#define FIRST(h) (h == A || known[A])
#ifdef BURY_GRANTED
#define EXPIRED(a, h) true
#else
#define EXPIRED(a, h) (granted[AT(a, h)] == 0 || newer[AT(a, h)])
#endif
#define CLAIM(a, h) :: d_step { !quiet[a] && PLANNED(h) && FIRST(h) && !known[h] && EXPIRED(a, h) -> \
  buried[AT(a, h)] = 1; answer[AT(a, h)] = WINDOW + 1; check() }
#define RESTART(a) :: d_step { true -> \
  quiet[a] = QUIET; \
  for (i : 0 .. SUBJECTS - 1) { granted[AT(a, i)] = 0; newer[AT(a, i)] = 0; buried[AT(a, i)] = 0 } \
  check() }
#define ARBITER(a, h) RENEW(a, h, 0) RENEW(a, h, 1) RENEW(a, h, 2) RENEW(a, h, 3) RENEW_NEWER(a, h) CLAIM(a, h) RECEIVE(a, h)

/* The host's side. With SECOND, what is received and decided is carried out at once: the smaller search looks at delays. */
inline receive(a, h) {
  ends[AT(a, h)] = MAX(ends[AT(a, h)], grant[AT(a, h)]);
  grant[AT(a, h)] = 0;
  if
  :: stage[h] == ASKING && LEASE(h) > 0 -> stage[h] = HOLDING
  :: else
  fi
}
#define RECEIVE(a, h) :: d_step { COUNTS(h) && grant[AT(a, h)] > 0 -> receive(a, h); check() }

#if defined(KEEP_ACTIVE)
#define WITHDRAW(h) :: d_step { stage[h] == OVER -> clear(ends, h); stage[h] = BACK; check() }
#elif defined(BACK_UNWITHDRAWN)
#define WITHDRAW(h) :: d_step { stage[h] == OVER -> stage[h] = BACK; check() } \
  :: d_step { stage[h] == BACK && opened[h] -> opened[h] = 0; opening[h] = 0; check() }
#else
#define WITHDRAW(h) :: d_step { stage[h] == OVER -> \
  opened[h] = 0; CANCEL(h); kernel[h] = 0; refresh[h] = 0; clear(grant, h); clear(ends, h); stage[h] = BACK; check() }
#endif
#ifdef STALE_ACTIVATE
#define CANCEL(h) skip
#else
#define CANCEL(h) opening[h] = 0
#endif
#define CRASH(h) :: d_step { stage[h] == HOLDING -> end(h); check() }
#define REFRESH(h) :: d_step { COUNTS(h) && LEASE(h) > refresh[h] && LEASE(h) > kernel[h] -> refresh[h] = LEASE(h); check() } \
  :: d_step { refresh[h] > 0 -> kernel[h] = MAX(kernel[h], refresh[h]); refresh[h] = 0; check() }

/* The successors' side. */
#define SUCCEED(h) :: d_step { ANSWERS(h) >= QUORUM -> known[h] = 1; clear(answer, h); check() }
#ifdef SECOND
#ifdef SKIP_FIRST
#define BOTH_BURIED known[A]
#else
#define BOTH_BURIED (known[A] && known[B])
#endif
#define OPEN :: d_step { known[A] && stage[B] == HOLDING && !opened[B] -> opening[B] = 1; check() } \
  :: d_step { opening[B] -> opened[B] = 1; opening[B] = 0; check() } \
  :: d_step { BOTH_BURIED -> opened[C] = 1; check() }
#else
#define OPEN :: d_step { known[A] -> opened[B] = 1; check() }
#endif

#define HOST(h) ARBITER(0, h) ARBITER(1, h) ARBITER(2, h) REFRESH(h) CRASH(h) WITHDRAW(h) SUCCEED(h)

active proctype world() {
  byte i, t;
  d_step { opened[A] = 1; i = 0; t = 0 };
  do
  TICK
  RESTART(0)
  RESTART(1)
  RESTART(2)
  HOST(A)
#ifdef SECOND
  HOST(B)
#endif
  OPEN
  od
}
