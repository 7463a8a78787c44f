# ruby receiver.rb 8080; secret and login come from the environment.
require "erb"
require "json"
require "net/http"
require "openssl"
require "socket"

SECRET = ENV.fetch("TRACKER_SECRET").delete_prefix("whsec_").unpack1("m")
LOCK, KEPT = Mutex.new, {} # KEPT belongs into your database
$stdout.sync = true

def signed?(headers, body)
  at = headers.fetch("webhook-timestamp", "")
  return false unless at.match?(/\A[0-9]{1,12}\z/) && (Time.now.to_i - at.to_i).abs <= 300
  mac = OpenSSL::HMAC.digest("SHA256", SECRET, "#{headers["webhook-id"]}.#{at}.".b + body)
  right = "v1,#{[mac].pack("m0")}"
  headers.fetch("webhook-signature", "").split(" ").count { |one| OpenSSL.secure_compare(one, right) } > 0
end

def judge(event)
  it, account = event.values_at("resource", "account")
  key = [*account.values_at("driver", "provider", "id"), *it.values_at("collection", "id")]
  kept, revision, merged = KEPT[key], it["revision"], event.dig("merged", "count") || 0
  return "late", key if kept && revision < kept
  return "duplicate", key if kept == revision && !event["snapshot"]
  KEPT[key] = revision # together with what you do about event["to"], in one transaction
  return "snapshot", key if event["snapshot"]
  [kept && revision > kept + 1 + merged ? "hole" : "new", key]
end

def resync(key, revision)
  url = URI("#{ENV.fetch("TRACKER")}/#{key[3]}/#{ERB::Util.url_encode(key[4])}")
  request = Net::HTTP::Get.new(url, "accept" => "application/json")
  request.basic_auth(ENV.fetch("TRACKER_USER"), ENV.fetch("TRACKER_PASSWORD"))
  answer = Net::HTTP.start(url.host, url.port, use_ssl: url.scheme == "https") { |http| http.request(request) }
  answer.value # raises unless 2xx; 404: it is gone
  now = JSON.parse(answer.body).values.first
  LOCK.synchronize do
    puts "resynced #{key[3]}/#{key[4]} #{now["state"]}" if KEPT[key] == revision # otherwise a later event has said more
  end
end

def receive(path, headers, body)
  return 401, "refused" unless signed?(headers, body)
  return 410, "ended" if path != "/cb" # nobody wants these any more
  event = JSON.parse(body)
  return 204, "test #{event["hook"]["id"]}" if event["test"]
  word, key = LOCK.synchronize { judge(event) }
  Thread.new { resync(key, event["resource"]["revision"]) } if word == "hole"
  [204, "#{word} #{key[3]}/#{key[4]} #{event["resource"]["revision"]}"]
end

def serve(socket)
  path = socket.gets("\r\n", 8192).to_s.split[1]
  lines = (1..100).lazy.map { socket.gets("\r\n", 8192).to_s.chomp }.take_while { |line| line != "" }
  headers = lines.to_h { |line| line.split(": ", 2).then { |name, value| [name.downcase, value.to_s] } }
  status, said = receive(path, headers, socket.read([headers["content-length"].to_i, 1 << 20].min))
  puts said
  socket.write("HTTP/1.1 #{status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
ensure
  socket.close
end

server = TCPServer.new("127.0.0.1", Integer(ARGV[0]))
puts "listens on #{server.addr[1]}"
loop { Thread.new(server.accept) { |socket| serve(socket) } }
