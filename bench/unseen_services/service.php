<?php
// A PHP service of event streams in one loop, with one behaviour, by its name. usage: php service.php PORT BEHAVIOUR
declare(strict_types=1);

[, $port, $behaviour] = $argv;
const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
const FULL = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const CAP = 330;
const ROW = "<li class=\"{class}\">{name}: {price}</li>";

const LIMITED = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

$context = stream_context_create(["socket" => ["backlog" => 511]]);
$listen = STREAM_SERVER_BIND | STREAM_SERVER_LISTEN;
$server = stream_socket_server("tcp://127.0.0.1:$port", $code, $message, $listen, $context) ?: exit(1);
stream_set_blocking($server, false);
$pause = $behaviour === "tick-4.3" ? 4.3 : 0.1;
$clients = []; // by number: the socket, when its next event is due (null before its request), and how many it got
$tenants = [];
$history = [];
$kept = [];
$banned = []; // what is known of each client that was refused
$lingering = []; // by number: the socket of a stream that the service has ended, and when it stops waiting for its client
$second = $inSecond = 0;
$reported = 0.0;
$served = 0;
mt_srand(11);

/** An event: a list that a template makes of the rows, which come from JSON. */
function rendered(int $sent): string
{
    $rows = [];
    for ($index = mt_rand(10, 70); $index > 0; $index--) {
        $rows[] = ["class" => "c$index", "name" => "row <$index> of $sent", "price" => mt_rand() / 97];
    }
    ob_start();
    foreach (json_decode(json_encode($rows), true) as $row) {
        echo preg_replace_callback('/{(\w+)}/', fn ($found) => htmlspecialchars((string) $row[$found[1]]), ROW);
    }
    return ob_get_clean();
}

/** What a new stream makes the service keep. False if there is no place for the stream. */
function opened(string $behaviour, int $number): bool
{
    global $tenants, $history, $kept;
    if ($behaviour === "tenants-57") { // most streams belong to few tenants
        $tenant = (int) (57 * (mt_rand() / mt_getrandmax()) ** 2);
        $tenants[$tenant] ??= stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    } elseif ($behaviour === "history") {
        $history[$number] = str_repeat(chr(65 + $number % 26), 21000);
    } elseif ($behaviour === "bytes-3300") {
        $history[$number] = str_repeat(chr(65 + $number % 26), 3300);
    } elseif ($behaviour === "cap-330") {
        if (count($kept) >= CAP) {
            return false;
        }
        $kept[] = fopen("/dev/zero", "r");
    }
    return true;
}

/** Whether this is one of the first 45 requests of the second. The record of a client that was refused stays. */
function admitted(mixed $socket, float $now): bool
{
    global $second, $inSecond, $banned;
    if ((int) $now !== $second) {
        [$second, $inSecond] = [(int) $now, 0];
    }
    if (++$inSecond <= 45) {
        return true;
    }
    $address = (string) stream_socket_get_name($socket, true);
    $banned[] = str_pad("$address refused at $now ", 2700, chr(97 + $inSecond % 26));
    return false;
}

while (true) {
    if ($behaviour === "statsd" && microtime(true) > $reported + 0.7) { // a new socket for each report
        $kept[] = stream_socket_client("udp://127.0.0.1:9");
        $reported = microtime(true);
    }
    foreach ($lingering as $number => [$socket, $until]) {
        $read = @fread($socket, 4096);
        if ((($read === "" || $read === false) && feof($socket)) || $until < microtime(true)) {
            fclose($socket);
            unset($lingering[$number]);
        }
    }
    $readable = [-1 => $server];
    foreach ($clients as $number => [$socket, $due]) {
        if ($due === null || $behaviour !== "tick-4.3") { // a slow ticker reads nothing after the request
            $readable[$number] = $socket;
        }
    }
    $writable = $except = null;
    if (@stream_select($readable, $writable, $except, 0, 20000) === false) {
        continue;
    }
    $now = microtime(true);
    foreach ($readable as $number => $socket) {
        if ($number === -1) {
            while ($socket = @stream_socket_accept($server, 0)) {
                stream_set_blocking($socket, false);
                $clients[$served++] = [$socket, null, 0];
            }
            continue;
        }
        $read = @fread($socket, 4096);
        if (($read === "" || $read === false) && feof($socket)) {
            fclose($socket);
            unset($clients[$number]);
        } elseif ($clients[$number][1] === null && str_contains((string) $read, "\r\n\r\n")) {
            if ($behaviour === "banned" && !admitted($socket, $now)) {
                @fwrite($socket, LIMITED);
                fclose($socket);
                unset($clients[$number]);
            } elseif (opened($behaviour, $number)) {
                @fwrite($socket, HEAD);
                $clients[$number][1] = $now;
            } else {
                @fwrite($socket, FULL);
                fclose($socket);
                unset($clients[$number]);
            }
        }
    }
    foreach ($clients as $number => [$socket, $due, $sent]) {
        if ($due !== null && $due <= $now) {
            $data = $behaviour === "templates" ? rendered($sent) : "tick";
            $written = @fwrite($socket, "id: $sent\ndata: $data\n\n");
            $ends = $behaviour === "ended-third" && $number % 3 === 0; // there is nothing after the first event
            if ($written !== false && $ends) {
                $kept[] = fopen("/dev/zero", "r");
            }
            if ($written !== false && $behaviour === "lingering-5") { // there is nothing after the first event
                stream_socket_shutdown($socket, STREAM_SHUT_WR);
                $lingering[$number] = [$socket, $now + 5.0];
                unset($clients[$number]);
            } elseif ($written === false || $ends) {
                fclose($socket);
                unset($clients[$number]);
            } else {
                $clients[$number] = [$socket, $now + $pause, $sent + 1];
            }
        }
    }
}
