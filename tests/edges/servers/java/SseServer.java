// A small SSE server, a pool of threads on a ServerSocket. /clean gives everything back; /object keeps one object,
// /thread one waiting thread per connection. Prints its port.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadPoolExecutor;

public class SseServer {
    static final List<Object> KEPT = Collections.synchronizedList(new ArrayList<>());
    static final byte[] EVENT =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: hello\n\n".getBytes(StandardCharsets.US_ASCII);

    static class Kept {
        long since;
    }

    static void keep() {
        KEPT.add(new Kept()); // planted object
    }

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
            String path = in.readLine().split(" ")[1];
            while (!in.readLine().isEmpty()) {}
            if (path.equals("/object")) {
                keep();
            } else if (path.equals("/thread")) {
                Thread thread = new Thread(SseServer::forgotten, "forgotten");
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
        ServerSocket server = new ServerSocket(0, 128, InetAddress.getLoopbackAddress());
        ThreadPoolExecutor pool = (ThreadPoolExecutor) Executors.newFixedThreadPool(64);
        pool.prestartAllCoreThreads();
        System.out.println(server.getLocalPort());
        while (true) {
            Socket client = server.accept();
            pool.execute(() -> stream(client));
        }
    }
}
