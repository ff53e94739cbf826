import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
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

    public static void main(String[] arguments) throws Exception {
        String behaviour = arguments[1];
        ExecutorService pool = behaviour.equals("blocked-90")
            ? new ThreadPoolExecutor(90, 90, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>())
            : new ThreadPoolExecutor(0, 1000, behaviour.equals("pool-20") ? 20 : 2, TimeUnit.SECONDS, new SynchronousQueue<>());
        try (ServerSocket server = new ServerSocket(Integer.parseInt(arguments[0]), 511, InetAddress.getByName("127.0.0.1"))) {
            while (true) {
                Socket socket = server.accept();
                pool.execute(() -> serve(socket, behaviour));
            }
        }
    }

    static void serve(Socket socket, String behaviour) {
        int stream = SERVED.incrementAndGet();
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
            switch (behaviour) {
                case "blocked-90" -> block(); // waits for an answer that never comes
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
