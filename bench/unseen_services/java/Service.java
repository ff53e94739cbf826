import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A service of event streams with one behaviour, by its name. usage: Service PORT BEHAVIOUR */
class Service {
    static final byte[] HEAD =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n".getBytes(StandardCharsets.US_ASCII);
    static final AtomicInteger SERVED = new AtomicInteger();
    static final Map<Integer, Map<String, Object>> SESSIONS = new ConcurrentHashMap<>();
    static final ScheduledExecutorService EXPIRY = Executors.newSingleThreadScheduledExecutor();
    /** Writes audit records: a thread for each that is being written, 110 at most, which stay for the next ones. */
    static final ExecutorService AUDIT = new ThreadPoolExecutor(
        0, 110, 1, TimeUnit.DAYS, new SynchronousQueue<>(), new ThreadPoolExecutor.CallerRunsPolicy());

    /** The time limits of streams. What is cancelled stays in the queue until its hour is over. */
    static final ScheduledThreadPoolExecutor LIMITS = new ScheduledThreadPoolExecutor(1);
    static final ThreadLocal<byte[]> SCRATCH = ThreadLocal.withInitial(Service::scratch);

    static final List<byte[]> HISTORY = new ArrayList<>();
    /** Files of streams that ended, which a sweep closes every 31 s, and those that it does not find. */
    static final List<FileInputStream> ENDED = new ArrayList<>();
    static final List<FileInputStream> MISSED = new ArrayList<>();
    /** Idle connections to the upstream. Every 9 s half of those beyond four are closed. */
    static final Deque<Socket> IDLE = new ArrayDeque<>();
    static ServerSocket upstream;

    public static void main(String[] arguments) throws Exception {
        String behaviour = arguments[1];
        int fixed = behaviour.equals("blocked-90") ? 90 : behaviour.equals("scratch-75") ? 75 : 0;
        ExecutorService pool = fixed > 0
            ? new ThreadPoolExecutor(fixed, fixed, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>())
            : new ThreadPoolExecutor(0, 1000, behaviour.equals("pool-20") ? 20 : 2, TimeUnit.SECONDS, new SynchronousQueue<>());
        if (behaviour.equals("shrinking-9")) {
            upstream = new ServerSocket(0, 511, InetAddress.getByName("127.0.0.1"));
            new Thread(Service::answer, "upstream").start();
            EXPIRY.scheduleAtFixedRate(Service::shrink, 9, 9, TimeUnit.SECONDS);
        } else if (behaviour.equals("sweep-31")) {
            EXPIRY.scheduleAtFixedRate(Service::sweep, 31, 31, TimeUnit.SECONDS);
        }
        try (ServerSocket server = new ServerSocket(Integer.parseInt(arguments[0]), 511, InetAddress.getByName("127.0.0.1"))) {
            while (true) {
                Socket socket = server.accept();
                pool.execute(() -> serve(socket, behaviour));
            }
        }
    }

    static void serve(Socket socket, String behaviour) {
        int stream = SERVED.incrementAndGet();
        if (behaviour.equals("shrinking-9")) {
            serveFromUpstream(socket);
            return;
        }
        ScheduledFuture<?> limit = behaviour.equals("limits") ? LIMITS.schedule(() -> close(socket), 1, TimeUnit.HOURS) : null;
        ByteBuffer direct = behaviour.equals("direct-160") ? ByteBuffer.allocateDirect(163_840) : null;
        while (direct != null && direct.hasRemaining()) {
            direct.put((byte) stream);
        }
        if (behaviour.equals("scratch-75") && stream % 8 == 0) {
            SCRATCH.get()[stream % 180_000]++;
        }
        try (socket) {
            socket.setTcpNoDelay(true);
            InputStream in = socket.getInputStream();
            int end = 0;
            for (int read = in.read(); read >= 0 && end < 4; read = end < 4 ? in.read() : -1) {
                end = read == '\r' || read == '\n' ? end + 1 : 0;
            }
            OutputStream out = socket.getOutputStream();
            out.write(HEAD);
            for (int number = 0; ; number++) {
                out.write(("id: " + number + "\ndata: tick\n\n").getBytes(StandardCharsets.US_ASCII));
                Thread.sleep(100);
            }
        } catch (Exception gone) {
            if (limit != null) {
                limit.cancel(false);
            }
            switch (behaviour) {
                case "blocked-90" -> block(); // waits for an answer that never comes
                case "bytes-5600" -> {
                    byte[] record = new byte[5600];
                    Arrays.fill(record, (byte) stream);
                    synchronized (HISTORY) {
                        HISTORY.add(record);
                    }
                }
                case "sweep-31" -> archive(stream);
                case "expiry" -> expire(stream);
                case "audits-110" -> AUDIT.execute(Service::audit);
                case "watcher-7" -> {
                    if (stream % 7 == 0) {
                        Thread watcher = new Thread(Service::block, "watcher " + stream);
                        watcher.setDaemon(true);
                        watcher.start();
                    }
                }
                default -> { }
            }
        }
    }

    /** Opens the archive of a stream that ended. Only fifteen of sixteen reach the list that the sweep closes. */
    static void archive(int stream) {
        try {
            FileInputStream file = new FileInputStream("/dev/zero");
            synchronized (ENDED) {
                (stream % 16 == 0 ? MISSED : ENDED).add(file);
            }
        } catch (IOException failed) {
            throw new IllegalStateException(failed);
        }
    }

    static byte[] scratch() {
        byte[] made = new byte[180_000];
        Arrays.fill(made, (byte) 1);
        return made;
    }

    static void sweep() {
        synchronized (ENDED) {
            for (FileInputStream file : ENDED) {
                close(file);
            }
            ENDED.clear();
        }
    }

    /** Ticks that come from the upstream, over a connection of the pool. */
    static void serveFromUpstream(Socket socket) {
        Socket used = null;
        try (socket) {
            InputStream in = socket.getInputStream();
            byte[] request = new byte[4096];
            if (in.read(request) <= 0) {
                return;
            }
            synchronized (IDLE) {
                used = IDLE.pollLast();
            }
            if (used == null) {
                used = new Socket(upstream.getInetAddress(), upstream.getLocalPort());
            }
            OutputStream out = socket.getOutputStream();
            out.write(HEAD);
            for (int number = 0; ; number++) {
                used.getOutputStream().write(number);
                int answer = used.getInputStream().read();
                out.write(("id: " + number + "\ndata: tick " + answer + "\n\n").getBytes(StandardCharsets.US_ASCII));
                Thread.sleep(100);
            }
        } catch (IOException | InterruptedException gone) {
            if (used != null) {
                synchronized (IDLE) {
                    IDLE.addLast(used);
                }
            }
        }
    }

    /** The upstream sends each byte back. It is in this process, so both ends of a connection count. */
    static void answer() {
        try {
            while (true) {
                Socket one = upstream.accept();
                new Thread(() -> {
                    try (one) {
                        for (int read = one.getInputStream().read(); read >= 0; read = one.getInputStream().read()) {
                            one.getOutputStream().write(read);
                        }
                    } catch (IOException gone) {
                        return;
                    }
                }, "upstream connection").start();
            }
        } catch (IOException failed) {
            throw new IllegalStateException(failed);
        }
    }

    static void shrink() {
        synchronized (IDLE) {
            for (int surplus = (IDLE.size() - 4 + 1) / 2; surplus > 0; surplus--) {
                close(IDLE.pollFirst());
            }
        }
    }

    static void close(AutoCloseable one) {
        try {
            one.close();
        } catch (Exception failed) {
            throw new IllegalStateException(failed);
        }
    }

    static void block() {
        try {
            new CountDownLatch(1).await();
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    static void audit() {
        try {
            Thread.sleep(ThreadLocalRandom.current().nextLong(180, 420));
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    /** Keeps the session of a stream that ended, with its file, for 8 to 48 s. */
    static void expire(int stream) {
        try {
            Map<String, Object> session = new HashMap<>();
            FileInputStream file = new FileInputStream("/dev/zero");
            session.put("file", file);
            session.put("name", "stream " + stream);
            session.put("positions", new int[] {stream, 0, 0});
            SESSIONS.put(stream, session);
            EXPIRY.schedule(() -> {
                SESSIONS.remove(stream);
                file.close();
                return null;
            }, ThreadLocalRandom.current().nextLong(8_000, 48_000), TimeUnit.MILLISECONDS);
        } catch (IOException failed) {
            throw new IllegalStateException(failed);
        }
    }
}
