import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** A service of event streams with one behaviour, by its name. usage: Service PORT BEHAVIOUR */
class Service {
    static final byte[] HEAD =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n".getBytes(StandardCharsets.US_ASCII);

    public static void main(String[] arguments) throws Exception {
        String behaviour = arguments[1];
        ExecutorService pool = behaviour.equals("blocked-90")
            ? new ThreadPoolExecutor(90, 90, 0, TimeUnit.SECONDS, new LinkedBlockingQueue<>())
            : new ThreadPoolExecutor(0, 1000, 20, TimeUnit.SECONDS, new SynchronousQueue<>());
        try (ServerSocket server = new ServerSocket(Integer.parseInt(arguments[0]), 511, InetAddress.getByName("127.0.0.1"))) {
            while (true) {
                Socket socket = server.accept();
                pool.execute(() -> serve(socket, behaviour));
            }
        }
    }

    static void serve(Socket socket, String behaviour) {
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
            if (behaviour.equals("blocked-90")) {
                try {
                    new CountDownLatch(1).await(); // waits for an answer that never comes
                } catch (InterruptedException stopped) {
                    Thread.currentThread().interrupt();
                }
            }
        }
    }
}
