/*
 * A load target on 127.0.0.1 that costs far less than any client: it counts the bytes of requests and decodes none of them.
 *
 *     server grpc LENGTH WINDOW    HTTP/2: answers every stream with one gRPC message
 *     server http LENGTH           HTTP/1.1: answers every request with the answer as JSON
 *
 * The answer, LENGTH bytes, comes first on standard input. Then the server prints its port; it ends when standard input closes.
 * WINDOW is the flow-control window it offers, for a stream and for the connection.
 *
 * Only what the well-behaved clients under test need of HTTP/2 (RFC 9113, section numbers below) and of HTTP/1.1 (bodies with a
 * content-length). A connection that does anything else is closed or not answered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PING = 6, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };
enum { PREFACE_BYTES = 24, FRAME_HEADER_BYTES = 9, MAX_FRAME_BYTES = 16384, DEFAULT_WINDOW = 65535 };
enum { MAX_CONNECTIONS = 1024, READ_BYTES = 1 << 20, UNSENT_LIMIT = 1 << 20 };

typedef struct Stream {
  uint32_t id;
  int64_t send_window;
  size_t sent;          /* bytes of the answer */
  uint32_t unreported;  /* bytes received since the last WINDOW_UPDATE */
  int requested;        /* the request is complete */
  int answering;        /* the response headers are out */
  struct Stream *next;
} Stream;

typedef struct Connection {
  int socket;
  uint8_t *in;
  size_t in_length, in_capacity;
  uint8_t *out;
  size_t out_start, out_length, out_capacity;
  int blocked; /* the socket takes no more for now */
  int dead;
  /* HTTP/2 */
  int greeted; /* the client's preface has been read */
  int64_t send_window;
  int64_t stream_window; /* what a new stream may send at first */
  uint32_t unreported;
  Stream *streams;
  /* HTTP/1.1 */
  size_t body_left;
  int in_body;
} Connection;

static uint8_t *answer; /* grpc: with the five bytes before the message */
static size_t answer_length;
static uint32_t window;
static int is_http1;

static void *checked(void *memory) {
  if (!memory) exit(1);
  return memory;
}

/* ---- output */

static void put(Connection *c, const void *bytes, size_t length) {
  if (c->out_length + length > c->out_capacity && c->out_start > 0) {
    c->out_length -= c->out_start;
    memmove(c->out, c->out + c->out_start, c->out_length);
    c->out_start = 0;
  }
  if (c->out_length + length > c->out_capacity) {
    c->out_capacity = (c->out_length + length) * 2;
    c->out = checked(realloc(c->out, c->out_capacity));
  }
  memcpy(c->out + c->out_length, bytes, length);
  c->out_length += length;
}

static void flush(Connection *c) {
  c->blocked = 0;
  while (!c->dead && c->out_start < c->out_length) {
    ssize_t sent = send(c->socket, c->out + c->out_start, c->out_length - c->out_start, 0);
    if (sent >= 0) c->out_start += sent;
    else if (errno == EAGAIN || errno == EWOULDBLOCK) { c->blocked = 1; return; }
    else if (errno != EINTR) c->dead = 1;
  }
  c->out_start = c->out_length = 0;
}

/* ---- HTTP/2 */

static uint32_t read_u32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static void write_u32(uint8_t *p, uint32_t value) {
  p[0] = value >> 24, p[1] = value >> 16, p[2] = value >> 8, p[3] = value;
}

static void put_frame_header(Connection *c, uint32_t length, uint8_t type, uint8_t flags, uint32_t stream) {
  uint8_t header[FRAME_HEADER_BYTES] = {length >> 16, length >> 8, length, type, flags};
  write_u32(header + 5, stream);
  put(c, header, sizeof header);
}

static void put_window_update(Connection *c, uint32_t stream, uint32_t increment) {
  uint8_t payload[4];
  write_u32(payload, increment);
  put_frame_header(c, sizeof payload, WINDOW_UPDATE, 0, stream);
  put(c, payload, sizeof payload);
}

/* Our SETTINGS: no limit on streams, and the window for each of them; the connection's window needs an update of its own (6.9.2). */
static void greet(Connection *c) {
  uint8_t settings[12] = {0, 3, 0x7f, 0xff, 0xff, 0xff, 0, 4};
  write_u32(settings + 8, window);
  put_frame_header(c, sizeof settings, SETTINGS, 0, 0);
  put(c, settings, sizeof settings);
  if (window > DEFAULT_WINDOW) put_window_update(c, 0, window - DEFAULT_WINDOW);
}

/* The place that points to a stream, or to the end of the list. */
static Stream **find_stream(Connection *c, uint32_t id) {
  Stream **place = &c->streams;
  while (*place && (*place)->id != id) place = &(*place)->next;
  return place;
}

static void remove_stream(Stream **place) {
  Stream *stream = *place;
  *place = stream->next;
  free(stream);
}

static size_t smaller(size_t a, int64_t b) { return (int64_t)a < b ? a : (size_t)b; }

/* Queue as much of one answer as the windows allow; 1 when it is complete. */
static int put_answer(Connection *c, Stream *s) {
  /* HPACK (RFC 7541): ":status: 200" from the static table; "content-type" by its index there, as a literal. */
  static const uint8_t headers[] = "\x88\x0f\x10\x10" "application/grpc";
  static const uint8_t trailers[] = "\x00\x0b" "grpc-status" "\x01" "0";
  if (!s->answering) {
    put_frame_header(c, sizeof headers - 1, HEADERS, END_HEADERS, s->id);
    put(c, headers, sizeof headers - 1);
    s->answering = 1;
  }
  while (s->sent < answer_length) {
    if (s->send_window <= 0 || c->send_window <= 0) return 0;
    size_t length = smaller(smaller(smaller(answer_length - s->sent, MAX_FRAME_BYTES), s->send_window), c->send_window);
    if (c->out_length - c->out_start > UNSENT_LIMIT) flush(c);
    if (c->blocked || c->dead) return 0;
    put_frame_header(c, length, DATA, 0, s->id);
    put(c, answer + s->sent, length);
    s->sent += length;
    s->send_window -= length;
    c->send_window -= length;
  }
  put_frame_header(c, sizeof trailers - 1, HEADERS, END_HEADERS | END_STREAM, s->id);
  put(c, trailers, sizeof trailers - 1);
  return 1;
}

static void put_answers(Connection *c) {
  Stream **place = &c->streams;
  while (*place && !c->blocked && !c->dead) {
    if ((*place)->requested && put_answer(c, *place)) remove_stream(place);
    else place = &(*place)->next;
  }
}

/* Count request bytes, and give the window back before a quarter of it is used, so that the client never waits for it. */
static void on_data(Connection *c, Stream *s, uint32_t length, int ends) {
  c->unreported += length;
  if (c->unreported > window / 4) {
    put_window_update(c, 0, c->unreported);
    c->unreported = 0;
  }
  if (!s) return;
  s->unreported += length;
  if (!ends && s->unreported > window / 4) {
    put_window_update(c, s->id, s->unreported);
    s->unreported = 0;
  }
  if (ends) s->requested = 1;
}

/* Only SETTINGS_INITIAL_WINDOW_SIZE (4) matters here: frames stay at the size that every client accepts. */
static void on_settings(Connection *c, const uint8_t *payload, uint32_t length) {
  for (uint32_t i = 0; i + 6 <= length; i += 6) {
    if (payload[i] != 0 || payload[i + 1] != 4) continue;
    int64_t size = read_u32(payload + i + 2);
    for (Stream *s = c->streams; s; s = s->next) s->send_window += size - c->stream_window;
    c->stream_window = size;
  }
  put_frame_header(c, 0, SETTINGS, ACK, 0);
}

static void on_frame(Connection *c, uint8_t type, uint8_t flags, uint32_t id, const uint8_t *payload, uint32_t length) {
  Stream **place = find_stream(c, id);
  if (type == DATA) {
    on_data(c, *place, length, flags & END_STREAM);
  } else if (type == HEADERS && !*place) {
    Stream *s = *place = checked(calloc(1, sizeof *s));
    s->id = id;
    s->send_window = c->stream_window;
    s->requested = flags & END_STREAM;
  } else if (type == RST_STREAM && *place) {
    remove_stream(place);
  } else if (type == SETTINGS && !(flags & ACK)) {
    on_settings(c, payload, length);
  } else if (type == PING && !(flags & ACK)) {
    put_frame_header(c, length, PING, ACK, 0);
    put(c, payload, length);
  } else if (type == WINDOW_UPDATE && length == 4) {
    if (id == 0) c->send_window += read_u32(payload);
    else if (*place) (*place)->send_window += read_u32(payload);
  }
}

/* Take whole frames; the number of bytes they took. */
static size_t read_frames(Connection *c) {
  size_t at = 0;
  if (!c->greeted) {
    if (c->in_length < PREFACE_BYTES) return 0;
    at = PREFACE_BYTES;
    c->greeted = 1;
  }
  while (c->in_length - at >= FRAME_HEADER_BYTES) {
    const uint8_t *header = c->in + at;
    uint32_t length = read_u32(header) >> 8;
    if (c->in_length - at < FRAME_HEADER_BYTES + length) break;
    on_frame(c, header[3], header[4], read_u32(header + 5) & 0x7fffffff, header + FRAME_HEADER_BYTES, length);
    at += FRAME_HEADER_BYTES + length;
  }
  return at;
}

/* ---- HTTP/1.1 */

static size_t content_length(const uint8_t *head, const uint8_t *end) {
  static const char name[] = "\ncontent-length:";
  for (; head < end; head++) {
    if (*head == '\n' && !strncasecmp((const char *)head, name, sizeof name - 1)) return strtoul((const char *)head + sizeof name - 1, 0, 10);
  }
  return 0;
}

/* Take whole heads and any part of a body; the number of bytes they took. */
static size_t read_requests(Connection *c) {
  size_t at = 0;
  for (;;) {
    if (c->in_body) {
      size_t length = smaller(c->in_length - at, c->body_left);
      at += length;
      c->body_left -= length;
      if (c->body_left > 0) return at;
      char head[128];
      int bytes = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", answer_length);
      put(c, head, bytes);
      put(c, answer, answer_length);
      c->in_body = 0;
    }
    uint8_t *end = memmem(c->in + at, c->in_length - at, "\r\n\r\n", 4);
    if (!end) return at;
    c->body_left = content_length(c->in + at, end);
    c->in_body = 1;
    at = end + 4 - c->in;
  }
}

/* ---- connections */

static Connection *accept_connection(int listener) {
  int socket = accept(listener, 0, 0), on = 1;
  if (socket < 0) return 0;
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Connection *c = checked(calloc(1, sizeof *c));
  c->socket = socket;
  c->in_capacity = READ_BYTES;
  c->in = checked(malloc(c->in_capacity));
  c->send_window = c->stream_window = DEFAULT_WINDOW;
  if (!is_http1) greet(c);
  flush(c);
  return c;
}

static void close_connection(Connection *c) {
  close(c->socket);
  while (c->streams) remove_stream(&c->streams);
  free(c->in);
  free(c->out);
  free(c);
}

static void receive(Connection *c) {
  if (c->in_length == c->in_capacity) c->in = checked(realloc(c->in, c->in_capacity *= 2));
  ssize_t received = recv(c->socket, c->in + c->in_length, c->in_capacity - c->in_length, 0);
  if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR)) c->dead = 1;
  if (received <= 0) return;
  c->in_length += received;
  size_t used = is_http1 ? read_requests(c) : read_frames(c);
  c->in_length -= used;
  memmove(c->in, c->in + used, c->in_length);
}

/* Do what a connection is ready for. */
static void serve(Connection *c, int events) {
  if (events & (POLLIN | POLLHUP | POLLERR)) receive(c);
  if (c->blocked) flush(c);
  if (!is_http1) put_answers(c);
  if (!c->blocked) flush(c);
}

static void read_answer(size_t length) {
  size_t prefix = is_http1 ? 0 : 5;
  answer_length = prefix + length;
  answer = checked(calloc(1, answer_length + 1));
  if (!is_http1) write_u32(answer + 1, length);
  for (size_t at = prefix; at < answer_length;) {
    ssize_t got = read(0, answer + at, answer_length - at);
    if (got <= 0) exit(1);
    at += got;
  }
}

static int listen_on_loopback(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (bind(listener, (void *)&address, length) || listen(listener, 512) || getsockname(listener, (void *)&address, &length)) exit(1);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return listener;
}

int main(int count, char **arguments) {
  if (count < 3) return 2;
  is_http1 = !strcmp(arguments[1], "http");
  window = count > 3 ? strtoul(arguments[3], 0, 10) : DEFAULT_WINDOW;
  signal(SIGPIPE, SIG_IGN);
  read_answer(strtoul(arguments[2], 0, 10));

  static struct pollfd polled[2 + MAX_CONNECTIONS];
  static Connection *connections[MAX_CONNECTIONS];
  int open = 0;
  polled[0] = (struct pollfd){.fd = 0, .events = POLLIN};
  polled[1] = (struct pollfd){.fd = listen_on_loopback(), .events = POLLIN};
  for (;;) {
    for (int i = 0; i < open; i++) {
      polled[2 + i] = (struct pollfd){.fd = connections[i]->socket, .events = POLLIN | (connections[i]->blocked ? POLLOUT : 0)};
    }
    if (poll(polled, 2 + open, -1) < 0) continue;
    if (polled[0].revents) return 0;
    for (int i = open - 1; i >= 0; i--) {
      if (polled[2 + i].revents) serve(connections[i], polled[2 + i].revents);
      if (!connections[i]->dead) continue;
      close_connection(connections[i]);
      connections[i] = connections[--open];
    }
    if (polled[1].revents && open < MAX_CONNECTIONS) {
      Connection *c = accept_connection(polled[1].fd);
      if (c) connections[open++] = c;
    }
  }
}
