import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.time.Duration;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import javax.net.ssl.*;

/** Asks a server by HTTP/2 with one picture in four bad, until standard input ends or COUNT requests are done. */
public class Client {
    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        byte[] good = Files.readAllBytes(Path.of(arguments[1])), bad = "no picture".getBytes();
        int count = Integer.parseInt(arguments[2]), threads = Integer.parseInt(arguments[3]);
        HttpClient.Builder builder = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2);
        if (arguments.length > 4) builder.sslContext(trusting(arguments[4]));
        HttpClient client = builder.build();
        AtomicInteger next = new AtomicInteger(), right = new AtomicInteger(), lost = new AtomicInteger();
        AtomicBoolean ended = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try { while (System.in.read() >= 0) { } } catch (Exception error) { }
            ended.set(true);
        });
        input.setDaemon(true);
        if (count == 0) input.start();
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        for (int worker = 0; worker < threads; worker++) pool.submit(() -> {
            for (int number; (number = next.getAndIncrement()) < count || (count == 0 && !ended.get());) {
                boolean isBad = number % 4 == 3;
                HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(30))
                    .POST(HttpRequest.BodyPublishers.ofByteArray(isBad ? bad : good)).build();
                try {
                    int status = client.send(request, HttpResponse.BodyHandlers.ofByteArray()).statusCode();
                    if (status == (isBad ? 415 : 200)) right.incrementAndGet();
                    else { lost.incrementAndGet(); System.err.println("status " + status); }
                } catch (Exception error) {
                    lost.incrementAndGet();
                    System.err.println(error);
                }
            }
        });
        pool.shutdown();
        pool.awaitTermination(10, TimeUnit.MINUTES);
        System.out.println("{\"right\":" + right + ",\"lost\":" + lost + "}");
        System.exit(0);
    }

    private static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var stream = Files.newInputStream(Path.of(file))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(stream));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }
}
