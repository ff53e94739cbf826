# A threaded Ruby service of event streams with one behaviour, by its name. usage: ruby service.rb PORT BEHAVIOUR
require "io/wait"
require "json"
require "socket"
require "tmpdir"

PORT, BEHAVIOUR = ARGV
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
LIMITED = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
DOWN = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndown"
LOCK = Mutex.new
ENDED = []
KEPT = []
CACHE = {}
FOLLOWERS = {}
$served = 0
$cached = 0
$second = 0
$in_second = 0

# Whether this is one of the first 55 requests of the second.
def allowed?
  LOCK.synchronize do
    second = Process.clock_gettime(Process::CLOCK_MONOTONIC).to_i
    $second, $in_second = second, 0 if second != $second
    ($in_second += 1) <= 55
  end
end

# An event of 9 kB: rendered, and read again as the subscriber's filter does.
def rendered(number)
  rows = Array.new(60) { |index| { "id" => index, "name" => "row #{number} #{index}", "tags" => ["a#{index}"] * 4 } }
  text = JSON.generate(rows)
  JSON.parse(text).length == 60 ? text : "none"
end

# Keeps the page of a stream, and drops the oldest ones beyond 4,400,000 bytes.
def cache(number)
  page = "page #{number} ".ljust(2500 + number * 7919 % 6500, "p")
  LOCK.synchronize do
    CACHE[number] = page
    $cached += page.bytesize
    $cached -= CACHE.shift.last.bytesize while $cached > 4_400_000
  end
end

# Gives each client 90 kB a second, and disconnects one who is behind by 192 kB.
def publish
  (0..).each do |sent|
    LOCK.synchronize do
      FOLLOWERS.each do |client, (queue, behind)|
        if behind[0] > 192_000
          client.close unless client.closed?
        else
          text = "id: #{sent}\ndata: #{'p' * 8980}\n\n"
          behind[0] += text.bytesize
          queue << text
        end
      end
    end
    sleep 0.1
  end
end

# Sends what is published at the pace of the reader.
def follow(client)
  client.setsockopt(:SOCKET, :SNDBUF, 16_384)
  queue, behind = Thread::Queue.new, [0]
  LOCK.synchronize { FOLLOWERS[client] = [queue, behind] }
  loop do
    text = queue.pop
    client.write(text)
    LOCK.synchronize { behind[0] -= text.bytesize }
  end
ensure
  LOCK.synchronize { FOLLOWERS.delete(client) }
end

# Opens a file for the upload, which is deleted at once and never closed.
def accept_upload(number)
  path = File.join(Dir.tmpdir, "unseen-#{PORT}-#{number}")
  file = File.open(path, "w+")
  File.unlink(path)
  LOCK.synchronize { KEPT << file }
end

# An event every 12 s, the first one after 12 s as well.
def stay_quiet(client)
  client.write(": welcome\n\n")
  (0..).each do |sent|
    return if client.wait_readable(12) && client.read_nonblock(4096, exception: false).nil?

    client.write("id: #{sent}\ndata: rare\n\n")
  end
end

def serve(client, number)
  while (line = client.gets)
    break if line == "\r\n"
  end
  return unless line

  if BEHAVIOUR == "limit-55" && !allowed?
    client.write(LIMITED)
    return
  end
  if BEHAVIOUR == "maintenance"
    accept_upload(number)
    client.write(DOWN)
    return
  end
  Process.detach(spawn("sleep", "4.6")) if BEHAVIOUR == "children-5" && number % 5 == 0
  client.write(HEAD)
  return stay_quiet(client) if BEHAVIOUR == "rare-12"
  return follow(client) if BEHAVIOUR == "drops-192"

  LOCK.synchronize { KEPT << File.open("/dev/zero") } if BEHAVIOUR == "limit-55"
  cache(number) if BEHAVIOUR == "cache-4400"
  recent = BEHAVIOUR == "render" ? Array.new(2000) { |index| "topic #{number} #{index}" } : []
  (0..).each do |sent|
    client.write("id: #{sent}\ndata: #{recent.empty? ? 'tick' : rendered(sent)}\n\n")
    if BEHAVIOUR == "tick-9"
      sleep 9 # it reads nothing: a departure is noticed by a write alone
    elsif client.wait_readable(0.1) && client.read_nonblock(4096, exception: false).nil?
      break
    end
  end
end

if BEHAVIOUR == "swept-third"
  Thread.new do
    loop do
      sleep 11
      LOCK.synchronize { ENDED.each(&:close).clear }
    end
  end
end

Thread.new { publish } if BEHAVIOUR == "drops-192"

server = TCPServer.new("127.0.0.1", Integer(PORT))
loop do
  client = server.accept
  number = $served += 1
  Thread.new do
    Thread.current.report_on_exception = false
    serve(client, number)
  rescue SystemCallError, IOError
    nil # the client is gone
  ensure
    client.close
    LOCK.synchronize { KEPT << "#{number} ".ljust(5100, "k") } if BEHAVIOUR == "bytes-5100"
    # The seat of every fourth stream stays reserved for a while.
    Thread.new { sleep 27 } if BEHAVIOUR == "threads-27" && number % 4 == 0
    # Only two of three files reach the list that the sweep closes.
    LOCK.synchronize { (number % 3 == 0 ? KEPT : ENDED) << File.open("/dev/zero") } if BEHAVIOUR == "swept-third"
  end
end
