/* The worker to compare with: the usual loop of Debian's libfcgi, one request at a time.
 * Answers what the health check of our workers answers, byte for byte. Built by fcgi.sh. */
#include <fcgiapp.h>

int main(void) {
    FCGX_Request request;
    if (FCGX_Init() != 0 || FCGX_InitRequest(&request, 0, 0) != 0) {
        return 1;
    }
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutS("Status: 200\r\n"
                  "content-type: application/json; charset=utf-8\r\n"
                  "content-length: 15\r\n"
                  "\r\n"
                  "{\"status\":\"ok\"}",
                  request.out);
        FCGX_Finish_r(&request);
    }
    return 0;
}
