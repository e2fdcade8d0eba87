import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
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
            Thread.sleep(1000 * secondsToWait(response.headers().firstValue("Retry-After").orElse("1")));
        }
    }

    /** Return what Retry-After says: seconds, or a date. */
    static long secondsToWait(String value) {
        long seconds = 1;
        try {
            seconds = value.matches("\\d{1,9}") ? Long.parseLong(value) : Duration.between(Instant.now(),
                ZonedDateTime.parse(value, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant()).toSeconds() + 1;
        } catch (DateTimeParseException error) {
            // Neither of both: a second.
        }
        return Math.max(0, Math.min(seconds, MAX_WAIT_S));
    }

    /** Return the first text or number of this name. Java has no parser of JSON: use the one of your project. */
    static String member(String json, String name) throws Refused {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|([-+.\\deE]+))").matcher(json);
        if (!found.find()) throw new Refused("not_this_api", "not an answer of this API: is the URL right?");
        return found.group(1) != null ? found.group(1) : found.group(2);
    }

    static void fail(int status, String text) {
        System.err.println(text);
        System.exit(status);
    }

    public static void main(String[] arguments) throws InterruptedException {
        if (arguments.length < 1) fail(2, "usage: java Classify.java PICTURE [URL]");
        Path path = Path.of(arguments[0]);
        if (Files.isDirectory(path) || !Files.isReadable(path)) fail(1, "cannot read " + path);
        String url = arguments.length > 1 ? arguments[1] : URL;
        try {
            String answer = new Classify().classify(Files.readAllBytes(path), url, System.getenv("CATSDOGS_KEY"));
            System.out.println(member(answer, "label") + " " + member(answer, "probability"));
        } catch (Refused refused) {
            fail(1, refused.getMessage());
        } catch (IOException | IllegalArgumentException error) {
            fail(1, "no answer: " + error);
        }
    }
}
