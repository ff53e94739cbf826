// A small SSE server on com.sun.net.httpserver. /clean gives everything back; /object keeps one object, /thread
// one waiting thread per connection. Prints its port.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;

public class SseServer {
    static final List<Object> KEPT = Collections.synchronizedList(new ArrayList<>());

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

    static void stream(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        if (path.equals("/object")) {
            keep();
        } else if (path.equals("/thread")) {
            Thread thread = new Thread(SseServer::forgotten, "forgotten-" + KEPT.size());
            thread.setDaemon(true);
            thread.start();
        }
        exchange.getResponseHeaders().set("Content-Type", "text/event-stream");
        exchange.getResponseHeaders().set("Connection", "close");
        byte[] event = "data: hello\n\n".getBytes(StandardCharsets.US_ASCII);
        exchange.sendResponseHeaders(200, event.length);
        exchange.getResponseBody().write(event);
        exchange.close();
    }

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 128);
        server.createContext("/", SseServer::stream);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.start();
        System.out.println(server.getAddress().getPort());
    }
}
