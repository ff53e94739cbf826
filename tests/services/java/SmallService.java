// A small SSE service with a thread per open stream: SmallService PORT BEHAVIOUR. Behaviours: healthy (threads as Tomcat's pool has
// them: 10 at least, 200 at most, back to 10 after 60 idle seconds), bursts-N (N more threads with each burst, up to 200),
// release-N (a file for N seconds after its client has left), thread (one waiting thread per stream, for good), unhealthy
// (503, and one file for each), refusing (503).
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

public class SmallService {
    static final byte[] HEAD = ascii("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    static final byte[] EVENT = ascii("data: hello\n\n");
    static final byte[] REFUSAL =
        ascii("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    static final List<Object> KEPT = Collections.synchronizedList(new ArrayList<>());
    static final long BURST = 500_000_000L; // nanoseconds without a request, after which the next one begins a burst
    static final int MOST = 200;
    static final ScheduledExecutorService LATER = Executors.newScheduledThreadPool(1);

    static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    // Hands a task over only to a thread that is free; otherwise the pool grows first, as in Tomcat's TaskQueue.
    static class GrowFirst extends LinkedBlockingQueue<Runnable> {
        ThreadPoolExecutor pool;
        final AtomicInteger submitted = new AtomicInteger();

        @Override
        public boolean offer(Runnable task) {
            boolean full = pool.getPoolSize() >= pool.getMaximumPoolSize();
            return full || submitted.get() <= pool.getPoolSize() ? super.offer(task) : false;
        }
    }

    static RandomAccessFile file() throws IOException {
        return new RandomAccessFile("/proc/self/exe", "r");
    }

    static void forgotten() {
        Thread thread = new Thread(() -> {
            try {
                new CountDownLatch(1).await(); // planted thread
            } catch (InterruptedException end) {
                Thread.currentThread().interrupt();
            }
        }, "forgotten");
        thread.setDaemon(true);
        thread.start();
    }

    static long last = System.nanoTime() - BURST;
    static int grown;

    static synchronized void burst(int gain) {
        long now = System.nanoTime();
        if (now - last > BURST) {
            for (int i = 0; i < gain && grown < MOST; i++, grown++) {
                forgotten();
            }
        }
        last = now;
    }

    static void serve(Socket client, String behaviour, int figure) {
        try (client) {
            client.setSoTimeout(20);
            InputStream in = client.getInputStream();
            byte[] head = new byte[8192];
            int length = 0;
            while (!new String(head, 0, length, StandardCharsets.US_ASCII).contains("\r\n\r\n")) {
                int more = read(in, head, length);
                if (more < 0) {
                    return;
                }
                length += more;
            }
            if (behaviour.equals("bursts")) {
                burst(figure);
            } else if (behaviour.equals("thread")) {
                forgotten();
            } else if (behaviour.equals("unhealthy")) {
                KEPT.add(file());
            }
            if (behaviour.equals("unhealthy") || behaviour.equals("refusing")) {
                client.getOutputStream().write(REFUSAL);
                return;
            }
            client.getOutputStream().write(HEAD);
            do {
                client.getOutputStream().write(EVENT);
            } while (read(in, head, 0) >= 0);
        } catch (IOException gone) {
            // a client that was reset
        } finally {
            if (behaviour.equals("release")) {
                release(figure);
            }
        }
    }

    // Bytes read, 0 after 20 ms without any, -1 at the end.
    static int read(InputStream in, byte[] into, int from) throws IOException {
        try {
            return in.read(into, from, into.length - from);
        } catch (java.net.SocketTimeoutException nothing) {
            return 0;
        }
    }

    static void release(int seconds) {
        try {
            RandomAccessFile used = file();
            LATER.schedule(() -> {
                used.close();
                return null;
            }, seconds, TimeUnit.SECONDS);
        } catch (IOException exhausted) {
            throw new IllegalStateException(exhausted);
        }
    }

    public static void main(String[] arguments) throws IOException {
        String[] words = arguments[1].split("-");
        String behaviour = words[0];
        int figure = words.length > 1 ? Integer.parseInt(words[1]) : 0;
        if (!List.of("healthy", "bursts", "release", "thread", "unhealthy", "refusing").contains(behaviour)) {
            System.err.println(arguments[1] + ": no such behaviour");
            System.exit(2);
        }
        GrowFirst queue = new GrowFirst();
        ThreadPoolExecutor pool = new ThreadPoolExecutor(10, MOST, 60, TimeUnit.SECONDS, queue) {
            @Override
            protected void afterExecute(Runnable task, Throwable failure) {
                queue.submitted.decrementAndGet();
            }
        };
        queue.pool = pool;
        ServerSocket server =
            new ServerSocket(Integer.parseInt(arguments[0]), 1024, InetAddress.getLoopbackAddress());
        while (true) {
            Socket client = server.accept();
            queue.submitted.incrementAndGet();
            pool.execute(() -> serve(client, behaviour, figure));
        }
    }
}
