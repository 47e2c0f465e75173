// A program that dies, or nearly dies, in the way that its arguments say: steps, carried out in order.
//
//   say TEXT            a line on standard output        comm NAME       this process's name in the kernel's log
//   sleep MS            wait                             pause           wait for ever
//   alloc MIB           touch memory at once             grow MIB STEP MS  in steps, with a pause after each
//   fill FILE MIB       write a file, 1 MiB at a time    exit N
//   abort segv ill bus fpe   die of that signal, by really doing what the kernel answers with it
//   ignore-term         SIGTERM does nothing             on-term N       SIGTERM ends it with exit code N
//   term-parent         send it SIGTERM
//   child STEP... end   a forked child does these steps; the parent goes on after `end`
//   wait                until a child is gone
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char **next;
static int term_code;

static char *word(void) {
  if (!*next) { fprintf(stderr, "crash: an argument is missing\n"); exit(64); }
  return *next++;
}
static long number(void) { return atol(word()); }
static void sleep_ms(long ms) { usleep(ms % 1000 * 1000); for (ms /= 1000; ms > 0;) ms = sleep(ms); }
static void on_term(int s) { (void)s; _exit(term_code); }

static void allocate(long mib) {
  char *p = mmap(0, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) { perror("crash: mmap"); exit(65); }
  for (long i = 0; i < mib << 20; i += 4096) p[i] = 1;
}

static void fill(const char *file, long mib) {
  static char block[1 << 20];
  int fd = open(file, O_WRONLY | O_CREAT | O_APPEND, 0644);
  if (fd < 0) { perror(file); exit(66); }
  for (; mib > 0; mib--)
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) { perror(file); exit(67); }
  close(fd);
}

// A page of a mapping that lies beyond the end of its file.
static void bus(void) {
  int fd = open("/tmp/empty", O_RDWR | O_CREAT, 0600);
  volatile char *p = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
  (void)*p;
}

static void steps(void) {
  while (*next) {
    char *s = word();
    if (!strcmp(s, "say")) { puts(word()); fflush(stdout); }
    else if (!strcmp(s, "comm")) prctl(PR_SET_NAME, word());
    else if (!strcmp(s, "sleep")) sleep_ms(number());
    else if (!strcmp(s, "pause")) for (;;) pause();
    else if (!strcmp(s, "alloc")) allocate(number());
    else if (!strcmp(s, "grow")) {
      long mib = number(), step = number(), ms = number();
      for (long done = 0; done < mib; done += step) { allocate(step); sleep_ms(ms); }
    }
    else if (!strcmp(s, "fill")) { char *file = word(); fill(file, number()); }
    else if (!strcmp(s, "exit")) exit(number());
    else if (!strcmp(s, "abort")) abort();
    else if (!strcmp(s, "segv")) *(volatile int *)16 = 1;
    else if (!strcmp(s, "ill")) __asm__ volatile("ud2");
    else if (!strcmp(s, "bus")) bus();
    else if (!strcmp(s, "fpe")) { volatile int zero = 0; zero = 7 / zero; }   // not 1/zero: compilers know better ways for that
    else if (!strcmp(s, "ignore-term")) signal(SIGTERM, SIG_IGN);
    else if (!strcmp(s, "on-term")) { term_code = number(); signal(SIGTERM, on_term); }
    else if (!strcmp(s, "term-parent")) kill(getppid(), SIGTERM);
    else if (!strcmp(s, "wait")) {
      int status = 0;
      while (wait(&status) < 0 && errno == EINTR) {}
      printf("child ended, wait status %d\n", status); fflush(stdout);
    }
    else if (!strcmp(s, "child")) {
      if (fork() == 0) continue;   // its `end` ends it
      while (strcmp(word(), "end")) {}
    }
    else if (!strcmp(s, "end")) exit(0);
    else { fprintf(stderr, "crash: what is %s?\n", s); exit(64); }
  }
}

int main(int argc, char **argv) {
  (void)argc;
  next = argv + 1;
  steps();
  return 0;
}
