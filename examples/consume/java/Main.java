import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** Calls an API once a second, with the token of a mounted Secret. */
public class Main {
    static final URI URL = URI.create(variable("API_URL", "https://api.idissuer.pl/v2/reports"));
    static final Path TOKEN_FILE = Path.of(variable("TOKEN_FILE", "/run/idissuer/token"));
    static final HttpClient CLIENT = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

    /** One request, with the token that is in the file now. */
    static HttpResponse<String> send() throws IOException, InterruptedException {
        var token = Files.readString(TOKEN_FILE).strip();
        var request = HttpRequest.newBuilder(URL)
            .timeout(Duration.ofSeconds(10))
            .header("Authorization", "Bearer " + token)
            .build();
        return CLIENT.send(request, BodyHandlers.ofString());
    }

    /** After a 401, reads the file again and repeats the request once: the token may be replaced meanwhile. */
    static HttpResponse<String> get() throws IOException, InterruptedException {
        var response = send();
        return response.statusCode() == 401 ? send() : response;
    }

    public static void main(String[] arguments) throws InterruptedException {
        for (;; Thread.sleep(1000)) {
            try {
                System.out.println(get().statusCode());
            } catch (IOException error) {
                System.err.println("failed: " + error);
            }
        }
    }

    static String variable(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
