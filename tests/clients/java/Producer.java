import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Produces each line of a file as a record, with the broker's own client and nothing of Millrace.
 *
 * <p>{@code Producer BOOTSTRAP TOPIC FILE}: a line is the key, a tab and the value; no key where nothing is before the
 * tab. Ends with 0 when every record is acknowledged.
 */
public final class Producer {
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("key.serializer", StringSerializer.class.getName());
        settings.put("value.serializer", ByteArraySerializer.class.getName());
        settings.put("compression.type", "lz4");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, byte[]> producer = new KafkaProducer<>(settings)) {
            // Not every value is text: in Latin-1 each byte is a character, and remains one.
            for (String line : Files.readString(Path.of(arguments[2]), ISO_8859_1).split("\n")) {
                String[] parts = line.split("\t", 2);
                String key = parts[0].isEmpty() ? null : parts[0];
                sent.add(producer.send(new ProducerRecord<>(arguments[1], key, parts[1].getBytes(ISO_8859_1))));
            }
            producer.flush();
        }
        for (Future<RecordMetadata> record : sent) {
            record.get();
        }
    }
}
