import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;

/** Java's own client as it comes, which offers HTTP/2 with every request. Prints a line for each answer. */
public class Predict {
    public static void main(String[] arguments) throws Exception {
        byte[] image = Files.readAllBytes(Path.of(arguments[1]));
        String json = "{\"images\": [\"" + Base64.getEncoder().encodeToString(image) + "\"]}";
        List<BodyPublisher> bodies = List.of(
            BodyPublishers.ofByteArray(image),
            BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(image)),
            BodyPublishers.ofString(json));
        HttpClient client = HttpClient.newHttpClient();
        for (BodyPublisher body : bodies) {
            for (boolean waits : new boolean[] {false, true}) {
                HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + "/predict"))
                    .header("Content-Type", body == bodies.get(2) ? "application/json" : "image/png")
                    .expectContinue(waits)
                    .POST(body)
                    .build();
                var answer = client.send(request, BodyHandlers.ofString());
                System.out.println(answer.statusCode() + " " + answer.body());
            }
        }
    }
}
