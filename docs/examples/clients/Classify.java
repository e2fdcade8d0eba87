import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Classify a picture: java Classify.java PICTURE [URL]
 *
 * Needs Java 11 or newer. If the server requires a key, set CATSDOGS_KEY.
 */
public class Classify {
    static final String URL = "http://127.0.0.1:8080/predictions/catsdogs";
    static final Duration TIMEOUT = Duration.ofSeconds(10);
    static final int TRIES = 4;
    static final long MAX_WAIT_S = 30;

    /** The server did not classify the picture. The code is a stable name for programs. */
    static class Refused extends Exception {
        final String code;

        Refused(String code, String detail) {
            super(code + ": " + detail);
            this.code = code;
        }
    }

    final HttpClient client = HttpClient.newBuilder().connectTimeout(TIMEOUT).build();

    /** Return the JSON of the answer to a picture. */
    String classify(byte[] picture, String url, String key) throws IOException, InterruptedException, Refused {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).timeout(TIMEOUT)
            .header("Content-Type", "application/octet-stream")
            .POST(HttpRequest.BodyPublishers.ofByteArray(picture));
        if (key != null) request.header("Authorization", "Bearer " + key);
        for (int attempt = 1; ; attempt++) {
            HttpResponse<String> response = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
            int status = response.statusCode();
            if (status == 200) return response.body();
            if ((status != 429 && status != 503) || attempt == TRIES) {
                boolean isProblem = response.headers().firstValue("Content-Type").orElse("")
                    .startsWith("application/problem+json");
                if (!isProblem) throw new Refused("http_" + status, "the answer is no problem document");
                throw new Refused(member(response.body(), "code"), member(response.body(), "detail"));
            }
            String seconds = response.headers().firstValue("Retry-After").orElse("1");
            Thread.sleep(1000 * (seconds.matches("\\d{1,9}") ? Math.min(Long.parseLong(seconds), MAX_WAIT_S) : 1));
        }
    }

    /** Return the first text or number of this name. Java has no parser of JSON: use the one of your project. */
    static String member(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|([-+.\\deE]+))").matcher(json);
        if (!found.find()) throw new IllegalArgumentException("The answer has no " + name + ": " + json);
        return found.group(1) != null ? found.group(1) : found.group(2);
    }

    public static void main(String[] arguments) throws Exception {
        byte[] picture = Files.readAllBytes(Path.of(arguments[0]));
        String url = arguments.length > 1 ? arguments[1] : URL;
        try {
            String answer = new Classify().classify(picture, url, System.getenv("CATSDOGS_KEY"));
            System.out.println(member(answer, "label") + " " + member(answer, "probability"));
        } catch (Refused refused) {
            System.err.println(refused.getMessage());
            System.exit(1);
        } catch (IOException error) {
            System.err.println("no answer: " + error);
            System.exit(1);
        }
    }
}
