// An SSE service on a pool of threads: Orders PORT LEAK keeps one waiting thread for each stream.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadPoolExecutor;

public class Orders {
    static String leak;
    static final byte[] EVENT =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n".getBytes(StandardCharsets.US_ASCII);

    static void forgotten() {
        try {
            Thread.sleep(Long.MAX_VALUE); // planted thread
        } catch (InterruptedException end) {
            Thread.currentThread().interrupt();
        }
    }

    static void stream(Socket client) {
        try (client) {
            BufferedReader in =
                new BufferedReader(new InputStreamReader(client.getInputStream(), StandardCharsets.US_ASCII), 512);
            while (!in.readLine().isEmpty()) {}
            if (leak.equals("thread")) {
                Thread thread = new Thread(Orders::forgotten, "forgotten");
                thread.setDaemon(true);
                thread.start();
            }
            client.getOutputStream().write(EVENT);
            while (in.read() >= 0) {} // until the client leaves
        } catch (IOException | NullPointerException gone) {
            // a client that left early
        }
    }

    public static void main(String[] arguments) throws IOException {
        ServerSocket server = new ServerSocket(Integer.parseInt(arguments[0]), 128, InetAddress.getLoopbackAddress());
        ThreadPoolExecutor pool = (ThreadPoolExecutor) Executors.newFixedThreadPool(64);
        pool.prestartAllCoreThreads();
        leak = arguments[1];
        while (true) {
            Socket client = server.accept();
            pool.execute(() -> stream(client));
        }
    }
}
